//! Comparing a password with what is stored of it. All in constant time.

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use md5::{Digest as _, Md5};
use sha_crypt::{PasswordVerifier as _, ShaCrypt};

use crate::model::{CryptMethod, Password};

/// The longest password that is hashed by `crypt(3)`, in bytes: the time grows with it.
/// ingress-nginx's C library has the same limit for most methods.
const LONGEST: usize = 256;

/// The password can be one of `crypt(3)`. To C, one with a zero in it ends there.
pub(super) fn may_be_crypted(given: &[u8]) -> bool {
    given.len() <= LONGEST && !given.contains(&0)
}

/// `{SHA}` and `{SSHA}`.
pub(super) fn is_sha1(given: &[u8], stored: &[u8; 20], salt: &[u8]) -> bool {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(given);
    context.update(salt);
    verify_slices_are_equal(context.finish().as_ref(), stored).is_ok()
}

/// What `crypt(3)` hashed. Takes its time.
pub(super) fn is_crypted(given: &[u8], stored: &Password) -> bool {
    let Password::Crypt { method, text } = stored else { return false };
    match method {
        CryptMethod::Md5 => is_md5(given, "$1$", text),
        CryptMethod::Apache => is_md5(given, "$apr1$", text),
        CryptMethod::Sha => ShaCrypt::default().verify_password(given, &**text).is_ok(),
        CryptMethod::Bcrypt => bcrypt::verify(given, text).unwrap_or(false),
    }
}

fn is_md5(given: &[u8], magic: &str, stored: &str) -> bool {
    let parts = stored.strip_prefix(magic).and_then(|rest| rest.split_once('$'));
    let Some((salt, hash)) = parts else { return false };
    let own = md5_crypt(given, magic.as_bytes(), salt.as_bytes());
    verify_slices_are_equal(&own, hash.as_bytes()).is_ok()
}

/// Poul-Henning Kamp's method of FreeBSD 2.0, `crypt(3)`'s `$1$`; with another magic word, Apache's.
fn md5_crypt(password: &[u8], magic: &[u8], salt: &[u8]) -> [u8; 22] {
    let inner: [u8; 16] = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into();
    let mut first = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
    for part in password.chunks(16) {
        first.update(inner.get(..part.len()).unwrap_or_default());
    }
    // One byte for each bit of the length: a zero, or the password's first.
    let mut bits = password.len();
    while bits != 0 {
        let byte = if bits & 1 == 1 { Some(&0) } else { password.first() };
        first.update(byte.map(std::slice::from_ref).unwrap_or_default());
        bits >>= 1;
    }
    let mut last: [u8; 16] = first.finalize().into();
    for round in 0..1000 {
        let mut next = Md5::new();
        let odd = round % 2 == 1;
        next.update(if odd { password } else { &last });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &last[..] } else { password });
        last = next.finalize().into();
    }
    encode(&last)
}

/// `crypt(3)`'s digits of six bits, the lowest first, of bytes in an order of their own.
fn encode(hash: &[u8; 16]) -> [u8; 22] {
    const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = hash.map(u32::from);
    let groups = [[a, g, m], [b, h, n], [c, i, o], [d, j, p], [e, k, f], [0, 0, l]];
    let mut text = [0; 22];
    let digits = groups.iter().flat_map(|[high, middle, low]| {
        let bits = high << 16 | middle << 8 | low;
        [0, 6, 12, 18].map(|shift| DIGITS[(bits >> shift & 63) as usize])
    });
    text.iter_mut().zip(digits).for_each(|(to, digit)| *to = digit);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What libxcrypt and `openssl passwd` make of some passwords.
    const KNOWN: &[(CryptMethod, &str, &str)] = &[
        (CryptMethod::Md5, "secret", "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1"),
        (CryptMethod::Md5, "secret", "$1$ab$dslkcXxVH.x8LwW1W/oAB/"),
        (CryptMethod::Md5, "jäger:ü", "$1$abcdefgh$Tcs6zABqDO3QeEJnU4QMd."),
        (CryptMethod::Md5, "", "$1$abcdefgh$M55TzYaaccxVGbptZWaxX/"),
        (CryptMethod::Md5, LONG, "$1$abcdefgh$W5uo3acxLTW3oygMNEKEp0"),
        (CryptMethod::Apache, "secret", "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/"),
        (CryptMethod::Apache, "jäger:ü", "$apr1$abcdefgh$OqHcd/T.KlEenFnns9GwR1"),
        (CryptMethod::Apache, "", "$apr1$abcdefgh$L.PT565ESX4Tp2bqNs7Ie."),
        (CryptMethod::Apache, "myPassword", "$apr1$r31$xZkm/.q4DhO3zXfRL9FLE/"),
        (CryptMethod::Sha, "secret", "$5$saltstring$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi."),
        (
            CryptMethod::Sha,
            "jäger:ü",
            "$5$rounds=1400$anotherlong$Py/z4BHTHC.b69gLz9PlqGkrrBaAyBeqfONQn5DkDT9",
        ),
        (
            CryptMethod::Sha,
            "secret",
            "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTIT\
             suk0Ry5qulYz.",
        ),
        (
            CryptMethod::Sha,
            "",
            "$6$rounds=1000$s$u6h1nDplZjxDo4zJTtL/gDw7SGioQGm.0uRtQXjSgB6lTpGGOfGi4A6UMV.7Q7d2K2pps\
             idkHUrit0FKUiAv71",
        ),
        (
            CryptMethod::Sha,
            LONG,
            "$6$rounds=1000$s$RGlvXHW5Vu7Lzj2Y03CkMr3byAmb3W8i2TrCblYAuUnepQiIgwvaMIKzW9VaaH6cm9KAK\
             Ktmp9JlhK5MGwUn.0",
        ),
        (
            CryptMethod::Bcrypt,
            "secret",
            "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        ),
        (
            CryptMethod::Bcrypt,
            "secret",
            "$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        ),
        (
            CryptMethod::Bcrypt,
            "jäger:ü",
            "$2b$04$abcdefghijklmnopqrstuu18GWS8du.N7AD8YvLJWakY2tWrcriea",
        ),
        (CryptMethod::Bcrypt, LONG, "$2b$04$abcdefghijklmnopqrstuuwurWIdVVT4m5pTArtqnFNM69nySdHj."),
    ];

    const LONG: &str = "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\
                        yyyyyyyyyyyyyyyyy";

    #[test]
    fn passwords_are_told_as_other_programs_hashed_them() {
        assert_eq!(LONG.len(), 100);
        for (method, password, text) in KNOWN {
            let stored = Password::Crypt { method: *method, text: (*text).into() };
            assert!(is_crypted(password.as_bytes(), &stored), "{text}");
            assert!(!is_crypted(format!("x{password}").as_bytes(), &stored), "{text}");
            let other = if text.ends_with('.') { 'O' } else { '.' };
            let other = format!("{}{other}", &text[..text.len() - 1]);
            let stored = Password::Crypt { method: *method, text: other.as_str().into() };
            assert!(!is_crypted(password.as_bytes(), &stored), "{other}");
        }
    }

    #[test]
    fn what_is_no_hash_is_nobody_s() {
        for method in [CryptMethod::Md5, CryptMethod::Apache, CryptMethod::Sha, CryptMethod::Bcrypt]
        {
            for text in ["", "$", "$1$", "$apr1$$", "$5$a", "$6$$$$", "$2y$04$", "$2y$99$aa"] {
                let stored = Password::Crypt { method, text: text.into() };
                assert!(!is_crypted(b"", &stored), "{method:?} {text}");
            }
        }
    }

    #[test]
    fn salted_and_plain_sha1_are_told() {
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).expect("digits");
        let plain = hex("e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4").try_into().expect("20 bytes");
        assert!(is_sha1(b"secret", &plain, b""));
        assert!(!is_sha1(b"Secret", &plain, b""));
        assert!(!is_sha1(b"secret", &plain, b"salt"));
        assert!(is_sha1(b"sec", &plain, b"ret"), "the salt follows the password");
    }

    #[test]
    fn some_passwords_cannot_be_hashed() {
        assert!(may_be_crypted(&[b'x'; LONGEST]));
        assert!(!may_be_crypted(&[b'x'; LONGEST + 1]));
        assert!(!may_be_crypted(b"a\0b"));
    }
}
