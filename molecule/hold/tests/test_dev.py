from hold_scenes import Scenes


def test_nothing(scenes: Scenes) -> None:
    pass
