set positional-arguments

# Lists the recipes.
default:
    @just --list

# Everything that a change must pass.
ci:
    bash .ci/run

# Every test, the integration tests with the real programs included.
test *args:
    cargo test --workspace {{args}}

# The criterion suites.
bench *args:
    cargo bench {{args}}

# Exact counts and a ratio against the baseline; `just gate rebaseline --reason "..."` makes a new one.
gate *args:
    cargo run --release -p mezzenger-gate -- "$@"

# Puts load on a server of its own and verifies every message.
load *args='--pubs 8 --subs 32':
    cargo run --release -p loadgen -- {{args}}

# Kills server and clients at random moments under load, and accounts for every message answered OK.
torture *args:
    cargo build --release -p mezzenger-torture
    cargo build --release -p mezzenger-server
    target/release/mezzenger-torture "$@"

# Every order in which threads may run what they share without a lock.
loom *args:
    bash .ci/loom {{args}}

# What reaches `unsafe`, under AddressSanitizer; needs a nightly toolchain.
asan *args:
    bash .ci/asan {{args}}

# What reaches `unsafe`, under valgrind's memcheck.
memcheck:
    bash .ci/memcheck

# Fuzzes each target, or those named, for this many seconds; needs a nightly toolchain and cargo-fuzz.
fuzz seconds *targets:
    bash fuzz/run {{seconds}} {{targets}}
