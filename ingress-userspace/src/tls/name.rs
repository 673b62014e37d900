//! Distinguished names as text, as nginx's `$ssl_client_s_dn` has them: RFC 2253, and OpenSSL's
//! names and escapes (`XN_FLAG_RFC2253`).

use std::fmt::Write as _;

use x509_parser::{
    asn1_rs::{Any, Tag, ToDer as _},
    x509::X509Name,
};

/// OpenSSL's short names of the attributes that are seen in the wild. Others are shown by their
/// number, and their values as hexadecimal DER.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL"),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST"),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC"),
];

/// The name as text: visible ASCII only. The last part of the certificate's name comes first.
pub(super) fn rfc2253(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for (index, part) in parts.iter().rev().enumerate() {
        let attributes: Vec<_> = part.iter().collect();
        for (place, attribute) in attributes.iter().rev().enumerate() {
            if place > 0 {
                text.push('+');
            } else if index > 0 {
                text.push(',');
            }
            let number = attribute.attr_type().to_id_string();
            let known = ATTRIBUTES.iter().find(|(known, _)| *known == number);
            let value = attribute.attr_value();
            match known {
                Some((_, short)) => {
                    text.push_str(short);
                    text.push('=');
                    match decoded(value) {
                        Some(bytes) => escape(&bytes, &mut text),
                        None => dump(value, &mut text),
                    }
                }
                None => {
                    text.push_str(&number);
                    text.push('=');
                    dump(value, &mut text);
                }
            }
        }
    }
    text
}

/// The value in UTF-8; `None` for what is no text.
fn decoded(value: &Any<'_>) -> Option<Vec<u8>> {
    let data = value.data;
    match value.tag() {
        Tag::Utf8String => Some(data.to_vec()),
        // Eight bits each, as Latin-1: so OpenSSL reads them all.
        Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::VisibleString
        | Tag::T61String => {
            Some(data.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes())
        }
        Tag::BmpString => {
            let units = data.chunks_exact(2).filter_map(|pair| pair.try_into().ok());
            let text = char::decode_utf16(units.map(u16::from_be_bytes));
            text.collect::<Result<String, _>>().ok().map(String::into_bytes)
        }
        Tag::UniversalString => {
            let units = data.chunks_exact(4).filter_map(|four| four.try_into().ok());
            let text = units.map(|four| char::from_u32(u32::from_be_bytes(four)));
            text.collect::<Option<String>>().map(String::into_bytes)
        }
        _ => None,
    }
}

/// RFC 2253, section 2.4; control characters and whatever is not ASCII too.
fn escape(bytes: &[u8], text: &mut String) {
    let last = bytes.len().saturating_sub(1);
    for (place, &byte) in bytes.iter().enumerate() {
        let at_the_edge =
            byte == b' ' && (place == 0 || place == last) || byte == b'#' && place == 0;
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            _ if at_the_edge => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                let _infallible = write!(text, "\\{byte:02X}");
            }
        }
    }
}

fn dump(value: &Any<'_>, text: &mut String) {
    text.push('#');
    for byte in value.to_der_vec_raw().unwrap_or_default() {
        let _infallible = write!(text, "{byte:02X}");
    }
}
