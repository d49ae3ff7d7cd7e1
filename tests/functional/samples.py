"""The sample tokens of the providers' own documents, as they stand there."""

import base64
import hmac

NUGU_ACCESS = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjM3MTg1MDM1NDYsInVzZXJfbmFtZSI"
    "6IkFMREZBS0sxQjhaUjU2MzE1QzVEIiwianRpIjoiYWU4ZWQ0MTEtZTljYy00NGRjLThlYjUtODc"
    "4NTdjM2QzNmFlIiwiY2xpZW50X2lkIjoic3BlYWtlci5udWd1Lm51MTEwIiwic2NvcGUiOltdLCJ"
    "leHQiOnsidXNyIjoiQUxERkFLSzFCOFpSNTYzMTVDNUQiLCJwb2MiOiJzcGVha2VyLm51Z3UubnU"
    "xMTAiLCJkdmMiOiJBTERGRzU1WU1ZUkE5RTUyN0VCRCIsInRrbiI6IjNDNzMxMzEwOUIyQTQ1RTZ"
    "CQjhBRUQ2MjBGRjNBMThGIn19.DrmLXJXBF9YL7-R7gtEg5dOLQ7UfYMlPKGp1WHNfx8M"
)
NUGU_REFRESH = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjE1NzM2MTE4OTksInVzZXJfbmFtZSI"
    "6IkFMREZBS0sxQjhaUjU2MzE1QzVEIiwianRpIjoiNjAzYTkyNjUtNTJmNS00ZDE2LWEzOWYtMTV"
    "kMGZhM2IxMTgyIiwiY2xpZW50X2lkIjoic3BlYWtlci5udWd1Lm51MTEwIiwic2NvcGUiOltdLCJ"
    "hdGkiOiJhZThlZDQxMS1lOWNjLTQ0ZGMtOGViNS04Nzg1N2MzZDM2YWUiLCJleHQiOnsidXNyIjo"
    "iQUxERkFLSzFCOFpSNTYzMTVDNUQiLCJkdmMiOiJBTERGRzU1WU1ZUkE5RTUyN0VCRCIsInBvYyI"
    "6InNwZWFrZXIubnVndS5udTExMCIsInRrbiI6IjNDNzMxMzEwOUIyQTQ1RTZCQjhBRUQ2MjBGRjN"
    "BMThGIn19.F29whyNRE6LN3c9yfNTH3F9uN3W04aP2Jxav3rSSFoY"
)
NUGU_RENEWED_ACCESS = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjM3MTg1MDU3MzQsInVzZXJfbmFtZSI"
    "6IkFMREZBS0sxQjhaUjU2MzE1QzVEIiwianRpIjoiNzcyNWVmNGYtNzc4Yy00NDUyLTk3ZWItODE"
    "0NWVmNWIyOTNkIiwiY2xpZW50X2lkIjoic3BlYWtlci5udWd1Lm51MTEwIiwic2NvcGUiOltdLCJ"
    "leHQiOnsidXNyIjoiQUxERkFLSzFCOFpSNTYzMTVDNUQiLCJkdmMiOiJBTERGRzU1WU1ZUkE5RTU"
    "yN0VCRCIsInBvYyI6InNwZWFrZXIubnVndS5udTExMCIsInRrbiI6IjNDNzMxMzEwOUIyQTQ1RTZ"
    "CQjhBRUQ2MjBGRjNBMThGIn19.pKy2WqIWtKCybQT8jGZsYUyvGg3ZdtQ4zzTSj7IeRYQ"
)
NUGU_RENEWED_REFRESH = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjE1NzM2MTE4OTksInVzZXJfbmFtZSI"
    "6IkFMREZBS0sxQjhaUjU2MzE1QzVEIiwianRpIjoiNjAzYTkyNjUtNTJmNS00ZDE2LWEzOWYtMTV"
    "kMGZhM2IxMTgyIiwiY2xpZW50X2lkIjoic3BlYWtlci5udWd1Lm51MTEwIiwic2NvcGUiOltdLCJ"
    "hdGkiOiI3NzI1ZWY0Zi03NzhjLTQ0NTItOTdlYi04MTQ1ZWY1YjI5M2QiLCJleHQiOnsidXNyIjo"
    "iQUxERkFLSzFCOFpSNTYzMTVDNUQiLCJkdmMiOiJBTERGRzU1WU1ZUkE5RTUyN0VCRCIsInBvYyI"
    "6InNwZWFrZXIubnVndS5udTExMCIsInRrbiI6IjNDNzMxMzEwOUIyQTQ1RTZCQjhBRUQ2MjBGRjN"
    "BMThGIn19.AkXWHMuUlKYKs3wP92roaBWQaFmuW7e4kKmlhmrWDZc"
)
MELON_ACCESS = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJZalk1TmpKak1qWTJaVEl3TVRaaE5"
    "6RHpPWTZNaEtzYVdvNEhRcDhlNHpCU29PTlkza1BZIiwic2NvcGUiOlsic3RyZWFtaW5nIiwidXN"
    "lci1wbGF5bGlzdC1yZWFkIl0sIm5hbWUiOiLshqHqt7zsmrEiLCJwcmVmZXJyZWRfdXNlcm5hbWU"
    "iOiLrp4jsi5zrp4jroIEiLCJleHAiOjE1MjMzMjg0NTIsImF1dGhvcml0aWVzIjpbIlJPTEVfVVN"
    "FUiJdLCJqdGkiOiJjYzEwNjA5ZS1mOTNiLTRjMDktYjllZC01MTYzZTJlMmVmZWUiLCJjbGllbnR"
    "faWQiOiIxMjM0In0.5Kw6AhnhHdl_4eGmi-DoiA59jYibYap63bSogUmZODg"
)
MELON_REFRESH = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJZalk1TmpKak1qWTJaVEl3TVRaaE5"
    "6RHpPWTZNaEtzYVdvNEhRcDhlNHpCU29PTlkza1BZIiwic2NvcGUiOlsic3RyZWFtaW5nIiwidXN"
    "lci1wbGF5bGlzdC1yZWFkIl0sImF0aSI6ImNjMTA2MDllLWY5M2ItNGMwOS1iOWVkLTUxNjNlMmU"
    "yZWZlZSIsIm5hbWUiOiLshqHqt7zsmrEiLCJwcmVmZXJyZWRfdXNlcm5hbWUiOiLrp4jsi5zrp4j"
    "roIEiLCJhdXRob3JpdGllcyI6WyJST0xFX1VTRVIiXSwianRpIjoiZmYyMjBlOTgtN2M0Ni00NmU"
    "yLWFiZmYtMmY5NTIwOTViYjNiIiwiY2xpZW50X2lkIjoiMTIzNCJ9.GMyrKlqPoS9Z6wV3wzuFmR"
    "4wJYgKReeb3VtwcnW3Yw0"
)


def resigned(sample: str, key: str) -> str:
    """Give a sample with not a byte changed but its signature, made with `key`."""
    signed = sample.rpartition(".")[0]
    mac = hmac.digest(key.encode(), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
