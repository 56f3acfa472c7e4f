//! The filter arguments of a command.

use clap::CommandFactory;
use clap::error::ErrorKind;
use mezzenger::Filter;

use crate::complain;

/// Which messages.
#[derive(clap::Args)]
pub(crate) struct FilterArgs {
    /// Name of the messages, or a pattern: tokens separated by dots, where `*` matches any one token and `>` at the end
    /// one or more. orders.* matches orders.new, orders.> also orders.new.paid. Quote patterns in a shell.
    filter: String,

    /// Take FILTER as a prefix: all names that begin with it; an empty one matches all names.
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
    let filter = if is_prefix { Filter::prefix(text) } else { Filter::from_text(text) };
    // Names may have such characters, so it is no error.
    if !matches!(filter, Filter::Pattern(_)) && text.contains(['*', '>']) {
        complain(&format!(
            "the '*' or '>' of '{text}' stands for itself: in a pattern it is a whole token, as in orders.* or orders.>"
        ));
    }
    if let Err(error) = filter.check() {
        crate::Args::command().error(ErrorKind::ValueValidation, error).exit();
    }
    filter
}
