//! Clients with keys and permissions, and what each of them tries.

use std::collections::HashMap;
use std::time::Duration;

use mezzenger::access::{Access, Permissions};
use mezzenger::curve::{AuthorizedKeys, KeyPair, PublicKey};
use mezzenger::{
    AdminError, Client, ClientBuilder, Filter, MessageId, RequestError, SendError, Server,
    SubscribeError,
};

/// Longer than anything takes that works.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A server, and clients that it knows.
pub(crate) struct World {
    pub(crate) server: Server,
    server_key: PublicKey,
    clients: HashMap<String, KeyPair>,
}

impl World {
    pub(crate) fn new(clients: &[(&str, Permissions)]) -> Self {
        let server_keys = KeyPair::generate();
        let (mut access, mut known) = (Access::new(), HashMap::new());
        for (name, permissions) in clients {
            let keys = KeyPair::generate();
            access = access.key(keys.public(), permissions.clone());
            known.insert((*name).to_owned(), keys);
        }
        let server_key = server_keys.public();
        let builder = Server::builder().pub_port(0).recv_port(0).access(access);
        let server = builder.curve(server_keys, AuthorizedKeys::any()).start().unwrap();
        Self { server, server_key, clients: known }
    }

    pub(crate) fn key(&self, name: &str) -> PublicKey {
        self.clients[name].public()
    }

    pub(crate) fn options(&self, name: &str) -> ClientBuilder {
        let builder = Client::builder().port(self.server.recv_addr().port());
        builder.curve(self.clients[name].clone(), self.server_key)
    }

    pub(crate) fn connect(&self, name: &str) -> Client {
        self.options(name).connect().unwrap()
    }
}

/// What a client tries. The texts are names, patterns and groups.
#[derive(Clone, Copy, Debug)]
enum Try {
    Publish(&'static str),
    Kept(&'static str),
    Batch(&'static str),
    Retain(&'static str),
    Later(&'static str),
    Keyed(&'static str),
    Large(&'static str),
    Forward(&'static str),
    Request(&'static str),
    Name(&'static str),
    Prefix(&'static str),
    Pattern(&'static str),
    Observe(&'static str),
    Last(&'static str),
    Join(&'static str, &'static str),
    Create(&'static str, &'static str),
    Delete(&'static str),
    Groups,
    DeadList(&'static str),
    DeadShow(&'static str),
    DeadReplay(&'static str),
    DeadPurge(&'static str),
    RetainedList(&'static str),
    RetainedClear(&'static str),
    Ping,
}

/// What came of it: how the refusal of the permissions begins, or any other end.
fn attempt(client: &Client, what: Try) -> Result<(), String> {
    let id = MessageId { publisher: 1, sequence: 1 };
    let send = |error: SendError| match error {
        SendError::NotAllowed { text } => Some(text),
        _ => None,
    };
    let subscribe = |error: SubscribeError| match error {
        SubscribeError::NotAllowed { text } => Some(text),
        _ => None,
    };
    let admin = |error: AdminError| match error {
        AdminError::NotAllowed { text } => Some(text),
        _ => None,
    };
    let open = |filter| client.subscription_to(filter);
    let refusal = match what {
        Try::Publish(name) => client.message(name, "x").send().err().and_then(send),
        Try::Kept(name) => client.message(name, "x").ack().send().err().and_then(send),
        Try::Batch(name) => {
            let receipts: Vec<_> = (0..50).map(|_| client.publish(name, "x").unwrap()).collect();
            let refused: Vec<_> =
                receipts.iter().filter_map(|receipt| receipt.wait().err().and_then(send)).collect();
            assert!(refused.is_empty() || refused.len() == 50, "{refused:?}");
            refused.first().cloned()
        }
        Try::Retain(name) => client.message(name, "x").retain().send().err().and_then(send),
        Try::Later(name) => client.message(name, "x").deliver_in(LONG).send().err().and_then(send),
        Try::Keyed(name) => {
            client.message(name, "x").idempotency_key("1").send().err().and_then(send)
        }
        Try::Large(name) => client.message(name, vec![0; 200_000]).send().err().and_then(send),
        Try::Forward(name) => {
            let mut own = client.subscription("own").unwrap();
            client.message("own", "x").send().unwrap();
            let message = own.recv_timeout(LONG).unwrap();
            client.forward(name, &message).unwrap().wait().err().and_then(send)
        }
        Try::Request(name) => match client.message(name, "x").request(Duration::from_millis(1)) {
            Err(RequestError::Send(error)) => send(error),
            Err(RequestError::Subscribe(error)) => subscribe(error),
            _ => None,
        },
        Try::Name(name) => open(Filter::name(name)).open().err().and_then(subscribe),
        Try::Prefix(prefix) => open(Filter::prefix(prefix)).open().err().and_then(subscribe),
        Try::Pattern(text) => open(Filter::pattern(text)).open().err().and_then(subscribe),
        Try::Observe(text) => {
            open(Filter::pattern(text)).observe().open().err().and_then(subscribe)
        }
        Try::Last(text) => open(Filter::pattern(text)).with_last().open().err().and_then(subscribe),
        Try::Join(group, text) => {
            open(Filter::pattern(text)).group(group).open().err().and_then(subscribe)
        }
        Try::Create(group, text) => {
            let durable = client.groups().durable(group, Filter::pattern(text));
            durable.create().err().and_then(admin)
        }
        Try::Delete(group) => client.groups().delete(group).err().and_then(admin),
        Try::Groups => client.groups().list().err().and_then(admin),
        Try::DeadList(group) => client.dead_letters(group).list(10).err().and_then(admin),
        Try::DeadShow(group) => client.dead_letters(group).show(id).err().and_then(admin),
        Try::DeadReplay(group) => client.dead_letters(group).replay(&[id]).err().and_then(admin),
        Try::DeadPurge(group) => client.dead_letters(group).purge(&[id]).err().and_then(admin),
        Try::RetainedList(text) => {
            client.retained().list(&Filter::pattern(text), 10).err().and_then(admin)
        }
        Try::RetainedClear(name) => client.retained().clear(name).err().and_then(admin),
        Try::Ping => client.ping().err().and_then(send),
    };
    refusal.map_or(Ok(()), Err)
}

/// Each row: who, what he tries, and how the refusal begins if there is one.
const ROWS: &[(&str, Try, &str)] = {
    use Try::*;
    const ALLOWED: &str = "";
    &[
        ("nobody", Ping, ALLOWED),
        ("nobody", Publish("orders.new"), "publish to 'orders.new'"),
        ("nobody", Kept("orders.new"), "publish to 'orders.new'"),
        ("nobody", Batch("orders.new"), "publish to 'orders.new'"),
        ("nobody", Large("orders.new"), "publish to 'orders.new'"),
        ("nobody", Name("orders.new"), "subscribe to the name 'orders.new'"),
        ("nobody", Prefix(""), "subscribe to the prefix ''"),
        ("nobody", Pattern(">"), "subscribe to the pattern '>'"),
        ("nobody", Observe(">"), "subscribe to the pattern '>'"),
        ("nobody", Join("packers", "orders.*"), "join group 'packers'"),
        ("nobody", Groups, "list groups"),
        ("nobody", DeadList(""), "list dead letters of all groups"),
        ("nobody", RetainedList(">"), "list retained messages of the pattern '>'"),
        ("nobody", Request("ask"), "publish to 'ask'"),
        ("shop", Publish("orders.new"), ALLOWED),
        ("shop", Publish("orders.new.paid"), ALLOWED),
        ("shop", Publish("orders"), "publish to 'orders'"),
        ("shop", Publish("order.new"), "publish to 'order.new'"),
        ("shop", Kept("orders.new"), ALLOWED),
        ("shop", Kept("prices"), "publish to 'prices'"),
        ("shop", Batch("orders.new"), ALLOWED),
        ("shop", Batch("prices"), "publish to 'prices'"),
        ("shop", Retain("orders.last"), ALLOWED),
        ("shop", Retain("prices"), "publish to 'prices'"),
        ("shop", Later("orders.new"), ALLOWED),
        ("shop", Later("prices"), "publish to 'prices'"),
        ("shop", Keyed("orders.new"), ALLOWED),
        ("shop", Keyed("prices"), "publish to 'prices'"),
        ("shop", Large("orders.new"), ALLOWED),
        ("shop", Large("prices"), "publish to 'prices'"),
        ("shop", Forward("orders.new"), ALLOWED),
        ("shop", Forward("prices"), "publish to 'prices'"),
        ("shop", Request("orders.ask"), ALLOWED),
        ("shop", Request("prices"), "publish to 'prices'"),
        ("shop", Name("own"), ALLOWED),
        ("shop", Name("orders.new"), "subscribe to the name 'orders.new'"),
        ("shop", Prefix("own"), "subscribe to the prefix 'own'"),
        ("shop", Create("packers", "own"), "create group 'packers' for the pattern 'own'"),
        ("packer", Publish("orders.new"), "publish to 'orders.new'"),
        ("packer", Name("orders.new"), ALLOWED),
        ("packer", Pattern("orders.*"), ALLOWED),
        ("packer", Pattern("orders.>"), "subscribe to the pattern 'orders.>'"),
        ("packer", Pattern("*.*"), "subscribe to the pattern '*.*'"),
        ("packer", Pattern(">"), "subscribe to the pattern '>'"),
        ("packer", Prefix("orders."), "subscribe to the prefix 'orders.'"),
        ("packer", Prefix("stock"), ALLOWED),
        ("packer", Prefix("stocks.a"), ALLOWED),
        ("packer", Prefix("stoc"), "subscribe to the prefix 'stoc'"),
        ("packer", Observe("orders.*"), ALLOWED),
        ("packer", Observe("orders.>"), "subscribe to the pattern 'orders.>'"),
        ("packer", Last("orders.*"), ALLOWED),
        ("packer", Last("orders.>"), "subscribe to the pattern 'orders.>'"),
        ("packer", Join("packers", "orders.*"), ALLOWED),
        ("packer", Join("packers", "orders.new"), ALLOWED),
        ("packer", Join("others", "orders.*"), "join group 'others'"),
        ("packer", Join("packers", "prices"), "subscribe to the pattern 'prices'"),
        ("packer", Join("packers", ">"), "subscribe to the pattern '>'"),
        ("packer", Groups, "list groups"),
        ("packer", Create("packers", "orders.*"), "create group 'packers'"),
        ("packer", Delete("packers"), "delete group 'packers'"),
        ("packer", DeadList("packers"), "list dead letters of group 'packers'"),
        ("packer", DeadShow("packers"), "show dead letters of group 'packers'"),
        ("packer", DeadReplay("packers"), "replay dead letters of group 'packers'"),
        ("packer", DeadPurge("packers"), "purge dead letters of group 'packers'"),
        ("packer", RetainedClear("orders.new"), "clear the retained message of 'orders.new'"),
        ("chief", Groups, ALLOWED),
        ("chief", Create("chiefs.a", "orders.*"), ALLOWED),
        ("chief", Create("packers", "orders.*"), "create group 'packers'"),
        ("chief", Create("chiefs.b", "prices"), "create group 'chiefs.b' for the pattern 'prices'"),
        ("chief", Create("chiefs.b", ">"), "create group 'chiefs.b' for the pattern '>'"),
        ("chief", Delete("chiefs.a"), ALLOWED),
        ("chief", Delete("packers"), "delete group 'packers'"),
        ("chief", DeadList("chiefs.a"), ALLOWED),
        ("chief", DeadList(""), "list dead letters of all groups"),
        ("chief", DeadList("packers"), "list dead letters of group 'packers'"),
        ("chief", DeadShow("chiefs.a"), ALLOWED),
        ("chief", DeadShow("packers"), "show dead letters of group 'packers'"),
        ("chief", DeadReplay("chiefs.a"), ALLOWED),
        ("chief", DeadReplay("packers"), "replay dead letters of group 'packers'"),
        ("chief", DeadPurge("chiefs.a"), ALLOWED),
        ("chief", DeadPurge("packers"), "purge dead letters of group 'packers'"),
        ("chief", RetainedList("orders.*"), ALLOWED),
        ("chief", RetainedList("prices"), "list retained messages of the pattern 'prices'"),
        ("chief", RetainedClear("orders.last"), ALLOWED),
        ("chief", RetainedClear("prices"), "clear the retained message of 'prices'"),
        ("chief", Publish("prices"), "publish to 'prices'"),
        ("root", Publish("anything"), ALLOWED),
        ("root", Prefix(""), ALLOWED),
        ("root", Pattern(">"), ALLOWED),
        ("root", DeadList(""), ALLOWED),
        ("root", RetainedList(">"), ALLOWED),
        ("root", Join("any", "*.a"), ALLOWED),
    ]
};

#[test]
fn each_operation_is_allowed_or_refused_as_the_permissions_say() {
    let world = World::new(&[
        ("nobody", Permissions::none()),
        ("shop", Permissions::none().publish("orders.>").publish("own").subscribe("own")),
        (
            "packer",
            Permissions::none()
                .subscribe("orders.*")
                .subscribe(mezzenger::access::Names::prefix("stock"))
                .group("packers"),
        ),
        (
            "chief",
            Permissions::none()
                .publish("orders.*")
                .subscribe("orders.*")
                .group("chiefs.*")
                .administer(),
        ),
        ("root", Permissions::all()),
    ]);
    const { assert!(ROWS.len() >= 60) };
    for &(who, what, expected) in ROWS {
        // Another one for each, so that nothing of one row counts for the next.
        let came = attempt(&world.connect(who), what);
        let key = world.key(who);
        match (&came, expected) {
            (Ok(()), "") => {}
            (Err(text), expected) if !expected.is_empty() => {
                let begins = text.starts_with(&format!("not allowed: {expected}"));
                let who = text.contains(&format!("; key {key} may "));
                assert!(begins && who, "{what:?}: {text}");
            }
            _ => panic!("{who} {what:?}: {came:?}"),
        }
    }
}
