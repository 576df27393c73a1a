"""Hashes that other systems made of PASSWORD: Django 5.2, Werkzeug 3.1, passlib (libpass 1.9); cheap ones."""

HASHES = {
    "django-pbkdf2-sha256": "pbkdf2_sha256$1000$r4HxXPuKBVCSe6TCn2rnrM$RJwiygL/L9yiIJtLAErDm90CKfOOVMU+H5nfLuxM7Q4=",
    "django-pbkdf2-sha1": "pbkdf2_sha1$1000$4DEhkg27k2RupJluP6fYDj$FWsWSKRbCJmVWDQFASOVlRjRo3I=",
    "django-argon2": (
        "argon2$argon2id$v=19$m=64,t=1,p=1$cnlxVWdWOWwzNmxGeDBleXFKajBtWg$fYIYR0yCeR8M4WfmUdbtFx1uPa3PJ7h7tPg96DE9ccA"
    ),
    "django-bcrypt-sha256": "bcrypt_sha256$$2b$04$XRARCC9xs1izIQQv85sCSOptBTXvwGNCKk6iSvDwnyXDrPQwCp2om",
    "django-bcrypt": "bcrypt$$2b$04$zABTfz7ZvRvq64zg.cnrOuhKarGBZAJ60zu02jRAJz7.ocLVxPdwq",
    "django-scrypt": (
        "scrypt$1024$m9E6eAPmp9bVnQ6ofSDD6m$8$5$upIQVJUSUIkr1gtBZaIaZRqeqv/NH6K517RRjyaSS+l9Za0RMFWVawTlGzxl5"
        "55MUfa3TuAy8euG43FDBso02g=="
    ),
    "werkzeug-pbkdf2-sha256-1000": (
        "pbkdf2:sha256:1000$mhfR0TSmpMZiwfdu$7d42147c485c543205438adf86f5f7d679f658e1ae135cb3518cdf79c6aebba7"
    ),
    "werkzeug-pbkdf2-sha512-1000": (
        "pbkdf2:sha512:1000$XNKrPL25b3kPTKmD$303b5395c1e0af108eced95f5a6a4021978ab7faf36f9369ecdb096a334d8b19"
        "8c5f906a57ee0a90907638623ffcbcb22e2bd81714cee9cb289e69162bec5935"
    ),
    "werkzeug-pbkdf2-sha1-1000": "pbkdf2:sha1:1000$HfBKtxnkeWzMXBLl$173fc007ed0be845cad14c70dfeaa6a84a384eeb",
    "werkzeug-scrypt-1024-8-1": (
        "scrypt:1024:8:1$4NnKy8fKticUumIx$becad2b537f3d8066d7105579763a1722b07b90b5cd0703a8320354c862fc41058e"
        "a236f35b1a474b6ff64a3a606e1fcc3faa31ee239e137272b825a5eb365de"
    ),
    "passlib-pbkdf2-sha256": "$pbkdf2-sha256$1000$N.ZcS6m1NmbMGYOw9l4LwQ$EtLrrK2XBTcu0qXzvEQWcyb16JAtq5553tsuzDkKT4A",
    "passlib-pbkdf2-sha512": (
        "$pbkdf2-sha512$1000$DYFwjtG6tzZGiLE2JkTImQ$VUPWbpCsyAQ/vveb.Rty/LrdCNcuYpceesDcwu3E.x9u96epAlpXkq.lf"
        "SWfcLtCxGr47pKHWHNLIgOqI6wntA"
    ),
    "passlib-pbkdf2": "$pbkdf2$1000$S8l5r1VKKQUAYGzN.X/PuQ$vS4B2oPn663hC2NUE5.YNFUDeXs",
    "passlib-scrypt": "$scrypt$ln=10,r=8,p=1$1roXAkAIgXAOQWiNUaqVUg$qXpFGe9mU5PtFhj1Zyq0D6x0bWQ9hw8NxONbpfJcob8",
    "passlib-bcrypt-sha256-v2": "$bcrypt-sha256$v=2,t=2b,r=4$/M5BOhMQZ/9AsYS1MtBTj.$5vq29pSUfkuy3rO8RslD0adEXFDA426",
    "passlib-bcrypt-sha256-v1": "$bcrypt-sha256$2b,4$rop4DVxpQnOjzpUVGJYgQu$8WcRYbeMjWq4g0JsLXGaMgKmNqphwpK",
    "passlib-argon2id": (
        "$argon2id$v=19$m=64,t=1,p=2$IKR0bq3VureWEiJkTCklZA$3eG7WRfEv245phElNrfnIxKFs5TUv0WsaTBtSf82l9k"
    ),
    "passlib-2b": "$2b$04$d83R.j9TRMS.RXwPppqbi.il9maQnpbdFBYzlq8lnEYf1vYYtc/XO",
    "passlib-2a": "$2a$04$mhndGzILHO5bJ80qaqGwGu0Cv6jAs//oX2ftIkUxgNyCCar6xhW0e",
    "passlib-2y": "$2y$04$d2/RNBJ.wsnQ6z3Fs7kS2.fAES4SA2WKv9ToD5fbFnLBkdiNXIn72",
    "ldap-crypt": "{CRYPT}$2b$04$UiHbnMI5h2AvWajL3eTm4uKgnWj9mCH.sBbGvXtJLhYUAVjUT0ueO",
}

# Of "user1password", as the tool that Google publishes for it makes it.
FIREBASE = (
    "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,"
    "sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="
    "$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="
)
FIREBASE_PASSWORD = "user1password"
