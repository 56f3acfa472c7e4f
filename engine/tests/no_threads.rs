//! How many threads clients on tokio have. Alone in its process, whose threads it counts.

use mezzenger::Server;
use mezzenger::asynchronous::Client;

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[tokio::test]
async fn clients_on_one_task_each_add_no_thread() {
    const CLIENTS: usize = 500;
    // Descriptors: two a client, its own and the server's.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let server = Server::builder().pub_port(0).recv_port(0).start().unwrap();
    let before = threads();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let options = Client::builder().port(server.recv_addr().port());
        let client = options.connect_async().await.unwrap();
        let messages = client.subscription("a").await.unwrap();
        clients.push((client, messages));
    }
    clients[0].0.message("a", "x").send().await.unwrap();
    for (client, messages) in &mut clients {
        assert_eq!(messages.recv().await.unwrap().text(), Some("x"));
        client.ping().await.unwrap();
    }
    assert_eq!(threads(), before);
}
