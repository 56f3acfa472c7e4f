//! Writes what packages hold beside the programs, from their own command lines: `mezzenger-packaging DIRECTORY` writes man
//! pages to `DIRECTORY/man`, and completions for bash, zsh and fish to `DIRECTORY/completions`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use clap::Command;
use clap_complete::Shell;

fn main() -> ExitCode {
    let Some(directory) = env::args_os().nth(1) else {
        eprintln!("mezzenger-packaging: name the directory that man pages and completions go to");
        return ExitCode::from(2);
    };
    match write(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mezzenger-packaging: cannot write to {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &Path) -> io::Result<()> {
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    for command in [mezzenger_server::command(), mezzenger_cli::command()] {
        // One page a subcommand, as git has them.
        fs::create_dir_all(&man)?;
        clap_mangen::generate_to(command.clone().disable_help_subcommand(true), &man)?;
        let page = man.join(format!("{}.1", command.get_name()));
        fs::OpenOptions::new().append(true).open(page)?.write_all(sections(&command).as_bytes())?;
        complete(command, &completions)?;
    }
    Ok(())
}

/// What a program's page says that its command line does not.
fn sections(command: &Command) -> String {
    let (codes, files, others) = match command.get_name() {
        "mezzenger-server" => (SERVER_CODES, SERVER_FILES, "mezzenger(1)"),
        _ => (CLIENT_CODES, CLIENT_FILES, "mezzenger\\-server(1)"),
    };
    let mut text = String::new();
    for (title, entries) in [("EXIT STATUS", codes), ("FILES", files)] {
        text += &format!(".SH \"{title}\"\n");
        for (what, meaning) in entries {
            text += &format!(".TP\n{}\n{meaning}\n", what.replace('-', "\\-"));
        }
    }
    text + ".SH \"SEE ALSO\"\n" + others + "\n"
}

type Entries = &'static [(&'static str, &'static str)];

const SERVER_CODES: Entries = &[
    ("0", "It ended as it was asked to."),
    ("1", "It could not start, or failed. The log says why."),
    ("2", "A flag, a variable of the environment or the configuration is wrong."),
    ("143, 130", "A second SIGTERM or SIGINT ended it."),
];

const SERVER_FILES: Entries = &[
    ("/etc/mezzenger/mezzenger.toml", "The configuration of the packaged service."),
    ("/var/lib/mezzenger/journal", "Its journal."),
];

const CLIENT_CODES: Entries = &[
    ("0", "Done."),
    ("1", "It failed. The text on standard error says why, and what to do."),
    ("2", "A flag, an argument or a variable of the environment is wrong."),
];

const CLIENT_FILES: Entries = &[(
    "*.key_secret",
    "Half of a key pair of `mezzenger keygen`: it stays on its machine, with mode 0600.",
)];

fn complete(mut command: Command, directory: &Path) -> io::Result<()> {
    let name = command.get_name().to_owned();
    for (shell, folder) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let folder = directory.join(folder);
        fs::create_dir_all(&folder)?;
        clap_complete::generate_to(shell, &mut command, &name, &folder)?;
    }
    Ok(())
}
