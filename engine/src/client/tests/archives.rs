use crate::client::tests::fake_server::LONG;
use crate::client::tests::subscriptions::{client, server};
use crate::client::{ArchiveType, Payload, PayloadError, SendError, TypedPayload};
use crate::wire::properties::PropertiesError;
use crate::wire::record::Encoding;

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Quote {
    price: u32,
    amount: u32,
}
crate::archive_type!(Quote as "shop.Quote" { price: u32, amount: u32 });

/// The same, as another program knows it.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Offer {
    price: u32,
    amount: u32,
}
crate::archive_type!(Offer as "shop.Quote" { price: u32, amount: u32 });

/// Valid wherever a quote is, and a quote wherever this is.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Swapped {
    amount: u32,
    price: u32,
}
crate::archive_type!(Swapped as "shop.Quote" { amount: u32, price: u32 });

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Unnamed {
    price: u32,
}

impl ArchiveType for Unnamed {
    const NAME: &'static str = "";
}

/// What a program makes that knows nothing of types.
struct Bare;

impl Payload for Bare {
    fn encoding(&self) -> Encoding {
        Encoding::Archive
    }
    fn as_payload(&self) -> &[u8] {
        b"\x07\0\0\0\x01\0\0\0"
    }
}

#[test]
fn a_typed_payload_is_read_as_what_it_was_published_as_and_as_nothing_else() {
    let server = server();
    let client = client(&server);
    let mut quotes = client.subscription("quotes").unwrap();
    let quote = Quote { price: 7, amount: 1 };
    client.message("quotes", TypedPayload::new(&quote).unwrap()).ack().send().unwrap();
    client.publish_archive("quotes", &quote).unwrap();
    client.publish("quotes", TypedPayload::new(&quote).unwrap()).unwrap();
    let headed = client.message("quotes", TypedPayload::new(&quote).unwrap()).header("shop", "7");
    headed.send().unwrap();
    for shop in [None, None, None, Some("7")] {
        let message = quotes.recv_timeout(LONG).unwrap();
        assert_eq!((message.header("shop"), message.verify()), (shop, Some(true)));
        let offer = message.archive::<Offer>().unwrap();
        assert_eq!((offer.price.to_native(), offer.amount.to_native()), (7, 1));
        assert_eq!(message.payload_type().unwrap().name, "shop.Quote");
        // Its bytes would do for all of these.
        let swapped = message.archive::<Swapped>().map(|it| it.price);
        assert_eq!(swapped, Err(PayloadError::OtherLayout { name: "shop.Quote" }));
        let published = String::from("shop.Quote");
        let other = PayloadError::OtherType { published, wanted: "u64" };
        assert_eq!(message.archive::<u64>().map(|it| it.to_native()), Err(other));
        assert_eq!(message.archive_untyped::<u64>().unwrap().to_native(), 7 + (1 << 32));
        message.ack();
    }
}

#[test]
fn what_has_no_type_stays_as_it_is_and_is_read_only_when_asked_for_as_such() {
    let server = server();
    let client = client(&server);
    let mut messages = client.subscription("a").unwrap();
    client.message("a", b"\x07\0\0\0").send().unwrap();
    client.message("a", Bare).send().unwrap();
    let bytes = messages.recv_timeout(LONG).unwrap();
    assert_eq!(bytes.message().whole(), b"\x07\0\0\0");
    assert_eq!(bytes.payload_type(), None);
    let no_archive = PayloadError::NotAnArchive { encoding: Encoding::Bytes };
    assert_eq!(bytes.archive::<u32>().unwrap_err(), no_archive);
    let bare = messages.recv_timeout(LONG).unwrap();
    assert_eq!(bare.message().whole(), Bare.as_payload());
    assert!(matches!(bare.archive::<Quote>(), Err(PayloadError::Untyped)));
    assert_eq!(bare.archive_untyped::<Quote>().unwrap().price, 7);
}

#[test]
fn a_type_goes_with_a_message_that_is_forwarded_and_with_requests_and_answers() {
    let server = server();
    let client = client(&server);
    let mut requests = client.subscription("sum").unwrap();
    let mut moved = client.subscription("moved").unwrap();
    let answering = std::thread::spawn(move || {
        let request = requests.recv_timeout(LONG).unwrap();
        request.forward_to("moved").unwrap();
        let sum = request.archive::<Vec<u32>>().unwrap().iter().map(|it| it.to_native()).sum();
        request.reply(TypedPayload::new::<u32>(&sum).unwrap()).unwrap();
    });
    let request = TypedPayload::new(&vec![1_u32, 2, 3]).unwrap();
    let answer = client.message("sum", request).request(LONG).unwrap();
    assert_eq!(*answer.archive::<u32>().unwrap(), 6);
    answering.join().unwrap();
    let moved = moved.recv_timeout(LONG).unwrap();
    assert_eq!(moved.archive::<Vec<u32>>().unwrap().len(), 3);
    let error = moved.archive::<Vec<i32>>().unwrap_err();
    assert_eq!(error, PayloadError::OtherLayout { name: "Vec" });
}

#[test]
fn a_type_without_a_name_is_not_published() {
    let server = server();
    let client = client(&server);
    let refused = PropertiesError::TypeName { bytes: 0 };
    let value = Unnamed { price: 7 };
    let errors = [
        client.publish_archive("a", &value).map(drop),
        client.message("a", TypedPayload::new(&value).unwrap()).send(),
    ];
    for error in errors {
        assert!(matches!(error, Err(SendError::Properties(it)) if it == refused), "{error:?}");
    }
    client.publish_archive("a", &7_u32).unwrap().wait().unwrap();
}
