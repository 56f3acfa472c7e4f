//! The server of `--broken-storage`.

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;

use loadgen::report::ready;
use mezzenger::{Config, internals};
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

use crate::args::ServeArgs;
use crate::write_behind::WriteBehind;

/// Serves until SIGTERM.
pub(crate) fn serve(args: ServeArgs) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::new([SIGTERM])?;
    let config = Config {
        pub_port: args.pub_port,
        recv_port: args.recv_port,
        persist_file: Some(args.persist_file),
        fsync: args.fsync,
        retry_interval: args.retry_interval,
        ..Config::default()
    };
    let server = internals::start_server(&config, Arc::new(WriteBehind::default()))?;
    writeln!(io::stdout(), "{}", ready::line(server.pub_addr(), server.recv_addr()))?;
    signals.forever().next();
    Ok(server.shutdown()?)
}
