//! Which messages a command is for.

use clap::CommandFactory;
use clap::error::ErrorKind;
use mezzenger::Filter;

/// Which messages.
#[derive(clap::Args)]
pub(crate) struct FilterArgs {
    /// Name of the messages, or a pattern of tokens that are parted by dots: `*` is any one token, and `>` at the end is
    /// one or more (to be quoted in a shell).
    filter: String,

    /// Messages of all names that begin with FILTER; an empty one means all messages.
    #[arg(long)]
    prefix: bool,
}

impl FilterArgs {
    /// The filter. One that breaks a rule is a usage error, which ends the process.
    pub(crate) fn checked(&self) -> Filter {
        checked(&self.filter, self.prefix)
    }
}

/// The filter of a command line. One that breaks a rule is a usage error, which ends the process.
pub(crate) fn checked(text: &str, is_prefix: bool) -> Filter {
    let filter = if is_prefix {
        Filter::prefix(text)
    } else if text.split('.').any(|token| token == "*" || token == ">") {
        Filter::pattern(text)
    } else {
        Filter::name(text)
    };
    if let Err(error) = filter.check() {
        crate::Args::command().error(ErrorKind::ValueValidation, error).exit();
    }
    filter
}
