//! Writes what packages hold beside the programs, from their own command lines: `mezzenger-packaging DIRECTORY` writes man
//! pages to `DIRECTORY/man`, and completions for bash, zsh and fish to `DIRECTORY/completions`.

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
        complete(command, &completions)?;
    }
    Ok(())
}

fn complete(mut command: Command, directory: &Path) -> io::Result<()> {
    let name = command.get_name().to_owned();
    for (shell, folder) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let folder = directory.join(folder);
        fs::create_dir_all(&folder)?;
        clap_complete::generate_to(shell, &mut command, &name, &folder)?;
    }
    Ok(())
}
