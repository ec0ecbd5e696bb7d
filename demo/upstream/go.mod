module freechatgpt

go 1.19
