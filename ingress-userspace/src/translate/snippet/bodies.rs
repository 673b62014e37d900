//! Directives about the bodies of answers: `sub_filter` and `gzip`.

use super::lower::{Lower, Place};
use crate::{
    model::{MediaTypes, Needle, Substitution},
    translate::{
        config::media_types,
        quantity::{size, whole},
    },
};

/// As many `sub_filter` one context may have: each looks through every body.
const MOST: usize = 64;

impl Lower {
    /// Takes the directive, if it is one of these. In an `if` nginx knows `gzip` alone.
    pub(super) fn body(
        &mut self,
        name: &str,
        words: &[&str],
        place: Place,
        context: usize,
    ) -> Result<bool, String> {
        let inside_if = place.is_conditional();
        match (name, words) {
            ("gzip", [text]) => self.at(context).body.gzip = Some(switch(text)?),
            _ if inside_if => return Ok(false),
            ("sub_filter", [text, replacement]) => {
                if text.contains('$') {
                    return Err("looks for a text with variables".to_owned());
                }
                let needle = Needle::new(text)?;
                let replacement = super::value::value(replacement, self.known())?;
                let all = self.at(context).body.substitutions.get_or_insert_default();
                if all.len() == MOST {
                    return Err(format!("stands here more than {MOST} times"));
                }
                all.push(Substitution { needle, replacement });
            }
            ("sub_filter_once", [text]) => self.at(context).body.once = Some(switch(text)?),
            ("sub_filter_last_modified", [text]) => {
                self.at(context).body.keep_modified = Some(switch(text)?);
            }
            ("sub_filter_types", words @ [_, ..]) => {
                self.at(context).body.types = Some(types(words)?);
            }
            ("gzip_types", words @ [_, ..]) => {
                self.at(context).body.gzip_types = Some(types(words)?);
            }
            ("gzip_comp_level", [text]) => {
                let level = whole(text).and_then(|level| u32::try_from(level).ok());
                let level = level.filter(|level| (1..=9).contains(level));
                let level = level.ok_or_else(|| format!("`{text}` is no level from 1 to 9"))?;
                self.at(context).body.gzip_level = Some(level);
            }
            ("gzip_min_length", [text]) => {
                let length = size(text).map_err(|invalid| format!("is not {}", invalid.0))?;
                self.at(context).body.gzip_min_length = Some(length);
            }
            (
                "gzip"
                | "sub_filter"
                | "sub_filter_once"
                | "sub_filter_last_modified"
                | "sub_filter_types"
                | "gzip_types"
                | "gzip_comp_level"
                | "gzip_min_length",
                _,
            ) => return Err("has too few or too many values".to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{text}` is neither `on` nor `off`")),
    }
}

fn types(words: &[&str]) -> Result<MediaTypes, String> {
    let text = words.join(" ");
    media_types(&text).ok_or_else(|| format!("`{text}` is no list of media types, nor `*`"))
}
