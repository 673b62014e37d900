//! What `htpasswd`, `htdigest` and their like write for a password (reference section 8.2).

use bcrypt::HashParts;
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use sha_crypt::PasswordHashRef;

use crate::model::{CryptMethod, HashedName, Password};

/// How expensive a bcrypt hash may be: some seconds. `htpasswd` itself goes to 17; whoever can
/// write a Secret could keep the processors from all others.
const MAX_COST: u32 = 15;

/// How many rounds of SHA-crypt there may be: about a second. Tools that ask for many ask for some
/// 650 000.
const MAX_ROUNDS: u32 = 1_000_000;

/// The fewest that there are.
const MIN_ROUNDS: u32 = 1000;

/// Reads a hash. The error completes the sentence "the password of `bob` ...".
pub(super) fn parse(text: &[u8]) -> Result<Password, &'static str> {
    if let Some(plain) = text.strip_prefix(b"{PLAIN}") {
        return Ok(Password::Plain(plain.into()));
    }
    let text = text.trim_ascii_end();
    if let Some(hash) = text.strip_prefix(b"{SHA}") {
        return match sha1(hash) {
            Some((digest, salt)) if salt.is_empty() => Ok(Password::Sha1 { digest, salt }),
            _ => Err("is no hash of 20 bytes in Base64 after `{SHA}`"),
        };
    }
    if let Some(hash) = text.strip_prefix(b"{SSHA}") {
        let (digest, salt) = sha1(hash).ok_or("is no hash and salt in Base64 after `{SSHA}`")?;
        return Ok(Password::Sha1 { digest, salt });
    }
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii());
    let text = text.ok_or("is no hash: it is not ASCII")?;
    let mut parts = text.split('$');
    if parts.next() != Some("") {
        let is_des = text.len() == 13 && is_crypt64(text);
        return Err(if is_des || text.starts_with('_') {
            "is hashed with DES, which is not supported"
        } else {
            "is of no known kind; a plain one begins with `{PLAIN}`"
        });
    }
    let method = match parts.next().unwrap_or_default() {
        "1" => md5(parts).map(|()| CryptMethod::Md5),
        "apr1" => md5(parts).map(|()| CryptMethod::Apache),
        "5" => sha(text, parts, 43).map(|()| CryptMethod::Sha),
        "6" => sha(text, parts, 86).map(|()| CryptMethod::Sha),
        "2a" | "2b" | "2y" => bcrypt(text).map(|()| CryptMethod::Bcrypt),
        _ => Err("is hashed in a way that is not supported"),
    }?;
    Ok(Password::Crypt { method, text: text.into() })
}

/// Reads what `htdigest` writes last on a line.
pub(super) fn parse_digest(text: &[u8]) -> Result<HashedName, &'static str> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.trim_ascii_end()).ok();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map(HashedName).ok_or("is no MD5 in 32 hexadecimal digits")
}

/// Hash and salt.
fn sha1(text: &[u8]) -> Option<([u8; 20], Box<[u8]>)> {
    let bytes = BASE64.decode(text).ok()?;
    let (digest, salt) = bytes.split_first_chunk()?;
    Some((*digest, salt.into()))
}

fn md5<'t>(mut parts: impl Iterator<Item = &'t str>) -> Result<(), &'static str> {
    match (parts.next(), parts.next(), parts.next()) {
        (Some(salt), Some(hash), None)
            if salt.len() <= 8 && hash.len() == 22 && is_crypt64(hash) =>
        {
            Ok(())
        }
        _ => Err("is no hash of MD5: `$1$` or `$apr1$`, up to 8 characters, `$`, 22 characters"),
    }
}

fn sha<'t>(
    text: &str,
    mut parts: impl Iterator<Item = &'t str>,
    length: usize,
) -> Result<(), &'static str> {
    const NONE: &str = "is no hash of SHA-crypt";
    let mut salt = parts.next().ok_or(NONE)?;
    if let Some(rounds) = salt.strip_prefix("rounds=") {
        if !rounds.parse().is_ok_and(|rounds| (MIN_ROUNDS..=MAX_ROUNDS).contains(&rounds)) {
            return Err("asks for less than 1000 or more than 1000000 rounds of SHA-crypt");
        }
        salt = parts.next().ok_or(NONE)?;
    }
    let hash = parts.next().filter(|hash| hash.len() == length && is_crypt64(hash));
    let whole = hash.is_some() && parts.next().is_none() && salt.len() <= 16;
    let readable = PasswordHashRef::new(text).is_ok();
    if whole && readable { Ok(()) } else { Err(NONE) }
}

fn bcrypt(text: &str) -> Result<(), &'static str> {
    let parts: HashParts = text.parse().map_err(|_details| "is no hash of bcrypt")?;
    match parts.get_cost() {
        4..=MAX_COST => Ok(()),
        _ => Err("has a cost of bcrypt that is not between 4 and 15"),
    }
}

/// Digits as `crypt(3)` has them.
fn is_crypt64(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_told_apart() {
        let crypt = |text: &str| match parse(text.as_bytes()) {
            Ok(Password::Crypt { method, text: own }) => {
                assert_eq!(&*own, text.trim_end());
                Some(method)
            }
            _ => None,
        };
        assert_eq!(crypt("$1$ab$dslkcXxVH.x8LwW1W/oAB/ "), Some(CryptMethod::Md5));
        assert_eq!(crypt("$apr1$r31$xZkm/.q4DhO3zXfRL9FLE/"), Some(CryptMethod::Apache));
        let hash = "C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi.";
        assert_eq!(crypt(&format!("$5$saltstring${hash}")), Some(CryptMethod::Sha));
        assert_eq!(crypt(&format!("$5$rounds=656000$s${hash}")), Some(CryptMethod::Sha));
        assert_eq!(crypt(&format!("$6$s${hash}{hash}")), Some(CryptMethod::Sha));
        let hash = "abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
        for kind in ["a", "b", "y"] {
            assert_eq!(crypt(&format!("$2{kind}$04${hash}")), Some(CryptMethod::Bcrypt));
        }
        assert_eq!(parse(b"{PLAIN}a b "), Ok(Password::Plain(b"a b ".as_slice().into())));
        assert_eq!(parse(b"{PLAIN}"), Ok(Password::Plain(Box::default())));
        let Ok(Password::Sha1 { digest, salt }) = parse(b"{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=")
        else {
            panic!("it is one");
        };
        assert_eq!((digest[0], &*salt), (0xE5, &b""[..]));
        let Ok(Password::Sha1 { digest, salt }) = parse(b"{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0")
        else {
            panic!("it is one");
        };
        assert_eq!((digest[0], &*salt), (0x81, &b"salt"[..]));
    }

    #[test]
    fn what_is_no_hash_of_a_known_kind_is_refused() {
        let sha = "C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi.";
        let bcrypt = "abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
        for text in [
            "",
            "secret",
            "$",
            "{sha}5en6G6MezRroT3XKqkdPOmY/BfQ=",
            "{SHA}5en6G6MezRroT3XKqkdPOmY/BQ==",
            "{SHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0",
            "{SHA}*",
            "{SSHA}5en6",
            "rqXexS6ZhobKA",
            "$1$abcdefghi$cHJi5PXp/ki/ktXzqlk6I1",
            "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I",
            "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1$",
            "$apr1$xZkm/.q4DhO3zXfRL9FLE/",
            "$y$j9T$abc$def",
            "$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA",
            &format!("$5$saltstring${sha}x"),
            &format!("$5$saltstringsaltstring${sha}"),
            &format!("$5$rounds=999$s${sha}"),
            &format!("$5$rounds=1000001$s${sha}"),
            &format!("$5$rounds=x$s${sha}"),
            &format!("$6$saltstring${sha}"),
            &format!("$2x$04${bcrypt}"),
            &format!("$2y$03${bcrypt}"),
            &format!("$2y$16${bcrypt}"),
            &format!("$2y$04${bcrypt}x"),
            "$2y$04$ü",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"$1$\xFF\xFF$cHJi5PXp/ki/ktXzqlk6I1").is_err());
        assert_eq!(parse(b"rqXexS6ZhobKA"), Err("is hashed with DES, which is not supported"));
    }

    #[test]
    fn digests_are_32_digits() {
        assert!(parse_digest(b"5F4DCC3B5AA765D61D8327DEB882CF99 ").is_ok());
        for text in ["", "5f4dcc3b5aa765d61d8327deb882cf9", "5f4dcc3b5aa765d61d8327deb882cf9x"] {
            assert!(parse_digest(text.as_bytes()).is_err(), "{text}");
        }
    }
}
