//! What directives say about the engine as a whole.

/// Whether rules block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They do.
    On,
    /// They tell what they would block.
    DetectionOnly,
    /// They are not run.
    Off,
}

/// `SecRequestBodyLimitAction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLimit {
    /// 413.
    Reject,
    /// The beginning is inspected, all is passed on.
    ProcessPartial,
}

/// What one text of directives says; `None`: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) mode: Option<Mode>,
    pub(super) inspect_bodies: Option<bool>,
    pub(super) most: Option<usize>,
    pub(super) most_without_files: Option<usize>,
    pub(super) on_limit: Option<OnLimit>,
    pub(super) most_arguments: Option<usize>,
}

impl Said {
    /// What both say; where they differ, this: libmodsecurity merges texts so, and ingress-nginx
    /// hands it the snippet first for that.
    pub(super) fn or(self, later: Self) -> Self {
        Self {
            mode: self.mode.or(later.mode),
            inspect_bodies: self.inspect_bodies.or(later.inspect_bodies),
            most: self.most.or(later.most),
            most_without_files: self.most_without_files.or(later.most_without_files),
            on_limit: self.on_limit.or(later.on_limit),
            most_arguments: self.most_arguments.or(later.most_arguments),
        }
    }
}

/// How requests are inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `SecRuleEngine`.
    pub mode: Mode,
    /// `SecRequestBodyAccess`.
    pub inspect_bodies: bool,
    /// `SecRequestBodyLimit`. Bytes.
    pub most: usize,
    /// `SecRequestBodyNoFilesLimit`: of a body without the files in it. Bytes.
    pub most_without_files: usize,
    /// `SecRequestBodyLimitAction`.
    pub on_limit: OnLimit,
    /// `SecArgumentsLimit`.
    pub most_arguments: usize,
}

/// The largest body that may be held back to be inspected, whatever the directives say. Bytes.
pub(super) const LARGEST: usize = 64 << 20;

impl From<Said> for Settings {
    /// The defaults are those of ModSecurity's recommended configuration, which ingress-nginx has.
    fn from(said: Said) -> Self {
        Self {
            mode: said.mode.unwrap_or(Mode::DetectionOnly),
            inspect_bodies: said.inspect_bodies.unwrap_or(true),
            most: said.most.unwrap_or(13_107_200),
            most_without_files: said.most_without_files.unwrap_or(131_072),
            on_limit: said.on_limit.unwrap_or(OnLimit::Reject),
            most_arguments: said.most_arguments.unwrap_or(1000),
        }
    }
}
