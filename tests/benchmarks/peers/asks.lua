-- What nginx asks about a request with the load's token.
wrk.headers["X-Original-Method"] = "GET"
wrk.headers["X-Original-URI"] = "/items/1k"
wrk.headers["X-Forwarded-For"] = "127.0.0.1"
wrk.headers["X-Forwarded-Proto"] = "http"
