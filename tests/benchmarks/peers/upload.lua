-- One mebibyte with each request.
wrk.method = "POST"
wrk.body = string.rep("x", 1048576)
