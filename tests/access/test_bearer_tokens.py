"""Signed tokens: what RFC 8725 warns of is refused, and each defence alone would be missed."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.access.makers import Watch, unsigned
from tunesmith.access.bearer_tokens import TokenRules, TokenVerifier
from tunesmith.access.principal import Principal
from tunesmith.access.refusals import RefusedError
from tunesmith.access.signing_keys import KeySetAddress, key_set
from tunesmith.errors import RecipeError, ResourceError, TunesmithError

SIGNER = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
SECRET = "0123456789abcdef0123456789abcdef-shared"
PEM = SIGNER.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def claims(**changes: Any) -> dict[str, Any]:
    made = {
        "iss": "https://issuer.example",
        "aud": "tunesmith",
        "sub": "ana@example.org",
        "exp": int(time.time()) + 600,
        "scope": "openid predict embed",
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def signed(key: Any = SIGNER, algorithm: str = "RS256", kid: str | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": kid} if kid else None)


def rules(folder: Path, **changes: Any) -> TokenRules:
    (folder / "key.pem").write_bytes(PEM)
    (folder / "secret").write_text(SECRET)
    (folder / "secret").chmod(0o600)
    given = {
        "issuer": "https://issuer.example",
        "audience": "tunesmith",
        "algorithms": ("RS256",),
        "public_key_file": str(folder / "key.pem"),
        **changes,
    }
    return TokenRules(**given)


def shared(folder: Path, **changes: Any) -> TokenRules:
    return rules(folder, algorithms=("HS256",), public_key_file="", secret_file=str(folder / "secret"), **changes)


def refused(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(RefusedError) as caught:
        verifier.admit(token)
    assert "ana" not in str(caught.value)
    assert caught.value.__cause__ is None, "a cause would carry the token's words into a trace"
    return caught.value.code


def test_a_token_by_the_rules_is_a_principal_whose_id_names_nobody(tmp_path: Path) -> None:
    verifier = TokenVerifier(rules(tmp_path))
    principal = verifier.admit(signed())
    assert principal.scopes == {"predict", "embed"}
    assert principal.id.startswith("jwt-")
    assert "ana" not in principal.id
    assert principal == verifier.admit(signed(exp=int(time.time()) + 60))
    assert principal.id != verifier.admit(signed(sub="bob@example.org")).id
    assert TokenVerifier(shared(tmp_path)).admit(signed(SECRET, "HS256")).scopes == {"predict", "embed"}


def test_an_unsigned_token_is_refused(tmp_path: Path) -> None:
    for made in (rules(tmp_path), shared(tmp_path)):
        verifier = TokenVerifier(made)
        for name in ("none", "None", "NONE", "nOnE", "", None, 1):
            assert refused(verifier, unsigned({"alg": name, "typ": "JWT"}, claims())) in (
                "algorithm_refused",
                "malformed_token",
            )
        assert refused(verifier, unsigned({"typ": "JWT"}, claims())) in ("algorithm_refused", "malformed_token")
        assert refused(verifier, unsigned({"alg": made.algorithms[0]}, claims())) != ""


def test_a_public_key_is_never_taken_for_a_shared_secret(tmp_path: Path) -> None:
    """The confusion of RFC 8725, section 2.1: signed by HMAC with the public key, which everybody knows."""
    head, body, _ = unsigned({"alg": "HS256", "typ": "JWT"}, claims()).split(".")
    mac = hmac.HMAC(PEM, hashes.SHA256())
    mac.update(f"{head}.{body}".encode())
    forged = f"{head}.{body}.{jwt.utils.base64url_encode(mac.finalize()).decode()}"
    assert refused(TokenVerifier(rules(tmp_path)), forged) == "algorithm_refused"
    for algorithms in (("RS256", "HS256"), ("HS256",)):
        with pytest.raises(RecipeError, match="HS256"):
            rules(tmp_path, algorithms=algorithms)
    with pytest.raises(RecipeError, match="RS256"):
        shared(tmp_path, leeway=0).__class__("i", "a", ("HS256", "RS256"), secret_file=str(tmp_path / "secret"))
    (tmp_path / "secret").write_bytes(PEM)
    (tmp_path / "secret").chmod(0o600)
    made = TokenRules("i", "a", ("HS256",), secret_file=str(tmp_path / "secret"))
    with pytest.raises(ResourceError, match="no secret"):
        made.signing_keys()


def test_a_shared_secret_that_is_short_for_its_algorithm_is_refused(tmp_path: Path) -> None:
    """RFC 7518, section 3.2: a secret is as long as the sum, 64 bytes for HS512; the library makes no such token."""
    made = TokenRules("https://issuer.example", "tunesmith", ("HS512",), secret_file=str(tmp_path / "secret"))
    rules(tmp_path)
    head, body, _ = unsigned({"alg": "HS512", "typ": "JWT"}, claims()).split(".")
    mac = hmac.HMAC(SECRET.encode(), hashes.SHA512())
    mac.update(f"{head}.{body}".encode())
    assert refused(TokenVerifier(made), f"{head}.{body}.{jwt.utils.base64url_encode(mac.finalize()).decode()}") != ""


@pytest.mark.parametrize("algorithms", [(), ("none",), ("RS256", "none"), ("rs256",), ("HS256", "none")])
def test_algorithms_are_named_and_known(tmp_path: Path, algorithms: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match="algorithm"):
        rules(tmp_path, algorithms=algorithms)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": int(time.time()) - 60}, "expired_token"),
        ({"exp": None}, "missing_claim"),
        ({"exp": "never"}, "malformed_token"),
        ({"nbf": int(time.time()) + 300}, "token_not_yet_valid"),
        ({"iat": int(time.time()) + 300}, "token_not_yet_valid"),
        ({"aud": "another"}, "wrong_audience"),
        ({"aud": ["another", "further"]}, "wrong_audience"),
        ({"aud": None}, "missing_claim"),
        ({"iss": "https://issuer.example.evil"}, "wrong_issuer"),
        ({"iss": None}, "missing_claim"),
        ({"sub": None}, "missing_claim"),
        ({"sub": ["ana"]}, "bad_claim"),
    ],
)
def test_each_claim_must_fit(tmp_path: Path, changes: dict[str, Any], code: str) -> None:
    payload = claims(**changes)
    if not isinstance(payload.get("iss", ""), str) or not isinstance(payload.get("sub", ""), str):
        token = jwt.api_jws.encode(json.dumps(payload).encode(), SIGNER, "RS256")
    else:
        token = jwt.encode(payload, SIGNER, "RS256")
    assert refused(TokenVerifier(rules(tmp_path)), token) == code


def test_clocks_may_differ_by_the_leeway_and_no_more(tmp_path: Path) -> None:
    just, before = signed(exp=int(time.time()) - 20), signed(exp=int(time.time()) - 40)
    verifier = TokenVerifier(rules(tmp_path, leeway=30))
    verifier.admit(just)
    assert refused(verifier, before) == "expired_token"
    assert refused(TokenVerifier(rules(tmp_path, leeway=0)), just) == "expired_token"
    with pytest.raises(RecipeError, match="leeway"):
        rules(tmp_path, leeway=3600)


def test_signatures_of_others_are_refused(tmp_path: Path) -> None:
    verifier = TokenVerifier(rules(tmp_path))
    good = signed()
    head, body, signature = good.split(".")
    changed = unsigned({"alg": "RS256"}, claims(sub="bob@example.org")).split(".")[1]
    assert refused(verifier, signed(OTHER)) == "bad_signature"
    assert refused(verifier, f"{head}.{changed}.{signature}") == "bad_signature"
    assert refused(verifier, f"{head}.{body}.") == "bad_signature"
    assert refused(verifier, signed(SIGNER, "RS512")) == "algorithm_refused", "the key could, the rules do not say so"
    assert refused(verifier, signed(SIGNER, "PS256")) == "algorithm_refused"


def test_the_outside_learns_no_reason_but_the_expiry(tmp_path: Path) -> None:
    verifier = TokenVerifier(rules(tmp_path))
    said = set()
    for token in (signed(OTHER), signed(aud="another"), signed(iss="other"), "nonsense", unsigned({"alg": "none"}, {})):
        with pytest.raises(RefusedError) as caught:
            verifier.admit(token)
        said.add(str(caught.value.told()))
    assert len(said) == 1


@pytest.mark.parametrize(
    "token",
    [
        "",
        "eyJ",
        "a.b.c",
        "eyJ..",
        "eyJhbGciOiJSUzI1NiJ9.e30",
        "eyJ" + "x" * 9000 + ".e30.x",
        "eyJ9.e30.é",
        "eyJhbGci.e30.x\n",
    ],
)
def test_what_is_no_token_is_refused_unread(tmp_path: Path, monkeypatch, token: str) -> None:
    def never(*_: object) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr("tunesmith.access.bearer_tokens.jwt.get_unverified_header", never)
    assert refused(TokenVerifier(rules(tmp_path)), token) == "malformed_token"


def test_a_token_that_is_too_long_is_refused_though_it_is_signed(tmp_path: Path) -> None:
    verifier = TokenVerifier(rules(tmp_path))
    verifier.admit(signed(groups="x" * 4000))
    assert refused(verifier, signed(groups="x" * 9000)) == "malformed_token"


def test_extensions_that_must_be_understood_are_refused(tmp_path: Path) -> None:
    verifier = TokenVerifier(rules(tmp_path))
    for header in ({"crit": ["exp"], "exp": 1}, {"b64": True, "crit": ["b64"]}, {"kid": 7}):
        token = unsigned({"alg": "RS256", **header}, claims(), "AAAA")
        assert refused(verifier, token) == "malformed_token"


def test_keys_that_the_token_brings_along_are_not_looked_at(tmp_path: Path) -> None:
    own = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(OTHER.public_key()))
    token = jwt.encode(
        claims(), OTHER, "RS256", headers={"jwk": own, "jku": "https://evil.example/keys", "x5u": "https://e"}
    )
    assert refused(TokenVerifier(rules(tmp_path)), token) == "bad_signature"


def test_scopes_of_the_issuer_become_ours(tmp_path: Path) -> None:
    own = rules(tmp_path, scopes_claim="roles", scopes={"nlp.reader": "predict", "nlp.owner": "admin"})
    verifier = TokenVerifier(own)
    assert verifier.admit(signed(roles=["nlp.reader", "other", 7], scope="admin")).scopes == {"predict"}
    assert verifier.admit(signed(roles="nlp.owner nlp.reader")).scopes == {"predict", "admin"}
    assert verifier.admit(signed(roles={"admin": 1})).scopes == set()
    assert verifier.admit(signed()).scopes == set()
    with pytest.raises(TunesmithError, match="Did you mean 'predict'"):
        rules(tmp_path, scopes={"x": "predikt"})


KINDS: tuple[tuple[type, Any], ...] = (
    (rsa.RSAPrivateKey, jwt.algorithms.RSAAlgorithm),
    (ec.EllipticCurvePrivateKey, jwt.algorithms.ECAlgorithm),
    (ed25519.Ed25519PrivateKey, jwt.algorithms.OKPAlgorithm),
)


def jwks(*keys: tuple[str, Any], **more: Any) -> bytes:
    made = []
    for kid, key in keys:
        algorithm = next(algorithm for kind, algorithm in KINDS if isinstance(key, kind))
        made.append({**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, **more})
    return json.dumps({"keys": made}).encode()


def test_a_file_with_a_key_set_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(jwks(("a", SIGNER), ("c", CURVE), ("e", EDWARDS)))
    made = rules(tmp_path, public_key_file="", jwks_file=str(path), algorithms=("RS256", "ES256", "EdDSA"))
    verifier = TokenVerifier(made)
    for kid, key, algorithm in (("a", SIGNER, "RS256"), ("c", CURVE, "ES256"), ("e", EDWARDS, "EdDSA")):
        verifier.admit(signed(key, algorithm, kid))
    assert refused(verifier, signed(CURVE, "ES256", "a")) == "algorithm_refused"
    assert refused(verifier, signed(SIGNER, "RS256", "b")) == "unknown_signer"
    assert refused(verifier, signed(SIGNER, "RS256")) == "unknown_signer", "no id, and several keys"
    path.write_bytes(jwks(("b", OTHER)))
    later = path.stat().st_mtime_ns + 1_000_000_000
    os.utime(path, ns=(later, later))
    assert refused(verifier, signed(SIGNER, "RS256", "a")) == "unknown_signer"
    verifier.admit(signed(OTHER, "RS256", "b"))
    verifier.admit(signed(OTHER, "RS256"))


def test_a_key_of_a_set_is_used_for_its_own_algorithm_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(jwks(("a", SIGNER), alg="RS512"))
    verifier = TokenVerifier(rules(tmp_path, public_key_file="", jwks_file=str(path), algorithms=("RS256", "RS512")))
    verifier.admit(signed(SIGNER, "RS512", "a"))
    assert refused(verifier, signed(SIGNER, "RS256", "a")) == "algorithm_refused"


def test_key_sets_with_secret_private_weak_or_no_keys_are_refused() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    private = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(SIGNER)), "kid": "a"}
    for key in ({"kty": "oct", "k": "c2VjcmV0", "kid": "a"}, private):
        with pytest.raises(ResourceError, match="a key that is not public"):
            key_set(json.dumps({"keys": [key]}).encode(), "keys.json")
    bad: list[bytes] = [
        jwks(("a", weak)),
        jwks(("a", SIGNER), ("a", OTHER)),
        *(
            b"",
            b"{",
            b"[]",
            b'{"keys":[]}',
            b'{"keys":{}}',
            b'{"keys":[1]}',
            b'{"keys":[{"kty":"RSA"}]}',
            b"[" * 100_000,
        ),
        jwks(("a", SIGNER)) + b" " * 300_000,
    ]
    for raw in bad:
        with pytest.raises(ResourceError, match="key"):
            key_set(raw, "keys.json")
    assert key_set(jwks(("a", SIGNER), use="enc"), "keys.json") == {}


class Issuer:
    """An address with keys, which counts how often it is asked."""

    def __init__(self) -> None:
        self.keys: list[tuple[str, Any]] = [("a", SIGNER)]
        self.asked = 0
        self.is_down = False

    def __call__(self, address: str) -> bytes:
        assert address == "https://issuer.example/keys"
        self.asked += 1
        if self.is_down:
            raise OSError("down")
        return jwks(*self.keys)


def fetching(issuer: Issuer, watch: Watch) -> KeySetAddress:
    return KeySetAddress("https://issuer.example/keys", issuer, watch, pause=30, grace=3600)


def admitted(verifier: TokenVerifier, token: str) -> Principal:
    """As the service does it: keys are fetched where one lacks, and never by `admit` itself."""
    if verifier.lacks_key(token):
        verifier.fetch_keys()
    return verifier.admit(token)


def declined(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(RefusedError) as caught:
        admitted(verifier, token)
    return caught.value.code


def test_a_key_set_is_fetched_once_and_then_when_it_is_told(tmp_path: Path) -> None:
    issuer, watch = Issuer(), Watch()
    verifier = TokenVerifier(rules(tmp_path), fetching(issuer, watch))
    for _ in range(20):
        admitted(verifier, signed(kid="a"))
    assert issuer.asked == 1
    verifier.fetch_keys()
    assert issuer.asked == 1, "not again within the pause"
    watch.at += 31
    issuer.keys = [("b", OTHER)]
    assert verifier.fetch_keys()
    assert declined(verifier, signed(kid="a")) == "unknown_signer", "a key that the issuer withdrew holds no longer"


def test_a_new_key_is_found_and_invented_ids_cause_no_flood(tmp_path: Path) -> None:
    issuer, watch = Issuer(), Watch()
    verifier = TokenVerifier(rules(tmp_path), fetching(issuer, watch))
    admitted(verifier, signed(kid="a"))
    for number in range(100):
        assert declined(verifier, signed(OTHER, kid=f"x{number}")) == "unknown_signer"
    assert issuer.asked == 1
    issuer.keys.append(("b", OTHER))
    watch.at += 30
    admitted(verifier, signed(OTHER, kid="b"))
    assert issuer.asked == 2


def test_what_the_rules_refuse_anyway_causes_no_fetch(tmp_path: Path) -> None:
    verifier = TokenVerifier(rules(tmp_path), fetching(Issuer(), Watch()))
    for token in ("nonsense", unsigned({"alg": "none", "kid": "z"}, claims()), signed(CURVE, "ES256", "z")):
        assert not verifier.lacks_key(token)
    assert verifier.lacks_key(signed(kid="a"))


def test_keys_outlive_an_issuer_that_is_down_but_not_for_ever(tmp_path: Path) -> None:
    issuer, watch = Issuer(), Watch()
    verifier = TokenVerifier(rules(tmp_path), fetching(issuer, watch))
    admitted(verifier, signed(kid="a"))
    issuer.is_down = True
    watch.at += 2000
    assert not verifier.fetch_keys()
    admitted(verifier, signed(kid="a"))
    watch.at += 1601
    assert declined(verifier, signed(kid="a")) == "signers_unavailable"
    issuer.is_down = False
    watch.at += 30
    admitted(verifier, signed(kid="a"))


def test_while_the_issuer_is_silent_nobody_is_told_that_his_token_is_wrong(tmp_path: Path) -> None:
    issuer, watch = Issuer(), Watch()
    issuer.is_down = True
    verifier = TokenVerifier(rules(tmp_path), fetching(issuer, watch))
    with pytest.raises(RefusedError) as caught:
        admitted(verifier, signed(kid="a"))
    assert (caught.value.code, caught.value.status) == ("signers_unavailable", 503)
    assert caught.value.numbers == {"retry_after": 30}
    watch.at += 10
    with pytest.raises(RefusedError) as later:
        admitted(verifier, signed(kid="a"))
    assert later.value.numbers == {"retry_after": 20}
    assert issuer.asked == 1


def test_whoever_comes_during_a_fetch_waits_for_it_and_finds_the_new_key() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(_: str) -> bytes:
        begun.set()
        assert go_on.wait(10)
        return jwks(("a", SIGNER))

    keys = KeySetAddress("https://issuer.example/keys", slowly)
    first, second = threading.Thread(target=keys.fetch), threading.Thread(target=keys.fetch)
    first.start()
    assert begun.wait(10)
    assert keys.lacks("a"), "it is not held to be unknown while it may be on its way"
    second.start()
    go_on.set()
    first.join(10)
    second.join(10)
    assert not keys.lacks("a")
    assert keys.find("a") is not None


def test_keys_are_fetched_by_https_alone() -> None:
    for address in ("http://issuer.example/keys", "file:///etc/passwd", "HTTPS:keys", "ftp://x"):
        with pytest.raises(TunesmithError, match="https"):
            KeySetAddress(address, Issuer())


def test_the_rules_of_the_documents_are_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    (tmp_path / "tokens.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    made = TokenRules.from_file(tmp_path / "tokens.yaml")
    assert made.limits.requests_per_minute == 300
    issuer = Issuer()
    verifier = TokenVerifier(made, made.signing_keys(issuer))
    assert admitted(verifier, signed(kid="a", roles=["nlp.reader"])).scopes == {"predict"}
    assert issuer.asked == 1


def test_rules_are_read_from_a_file_and_mistakes_are_named(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(PEM)
    path = tmp_path / "tokens.yaml"
    good = "issuer: https://issuer.example\naudience: tunesmith\nalgorithms: [RS256]\npublic_key_file: key.pem\n"
    path.write_text(good)
    TokenVerifier(TokenRules.from_file(path)).admit(signed())
    for text, match in (
        (good.replace("audience", "audiense"), "Did you mean 'audience'"),
        (good.replace("audience: tunesmith\n", ""), "audience"),
        (good.replace("audience: tunesmith\n", "audience: ''\n"), "must be given"),
        (good + "jwks_url: https://issuer.example/keys\n", "2 places"),
        (good.replace("public_key_file: key.pem\n", "").replace("https:", "urn:"), "no https address"),
        (good.replace("RS256", "ES256"), "The key is for RS256"),
        (good.replace("key.pem", "none.pem"), "cannot be read"),
        (good + "limits: {tokens_per_minute: 0}\n", "tokens_per_minute"),
    ):
        path.write_text(text)
        with pytest.raises(TunesmithError, match=match):
            TokenRules.from_file(path).signing_keys()
    (tmp_path / "key.pem").write_text("no key")
    path.write_text(good)
    with pytest.raises(ResourceError, match="public key"):
        TokenRules.from_file(path).signing_keys()
