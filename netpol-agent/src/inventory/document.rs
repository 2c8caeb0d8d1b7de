//! A document while it is read: every object in it is decoded, and its text let go of, before the next one is read.
//!
//! So memory is bounded by what is kept of the objects, however many the document lists, and by the largest object,
//! whose size is bounded too.

use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::decode::{self, Decoded, LISTS, Undecodable};

/// How many values one object may hold. Kubernetes takes no object of more than about 1.5 MiB, and a value needs at
/// least two bytes.
const VALUES: usize = 1_000_000;

/// The objects of a document; an error, if one of them does not decode; `None` of an empty document.
#[derive(Debug)]
pub(super) struct Document(pub(super) Option<Result<Vec<Decoded>, Undecodable>>);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl DocumentVisitor {
    fn no_object<E>(self) -> Result<Document, E> {
        Ok(Document(Some(Err(decode::not_an_object("")))))
    }
}

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object")
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Document, E> {
        self.no_object()
    }

    fn visit_i64<E>(self, _: i64) -> Result<Document, E> {
        self.no_object()
    }

    fn visit_u64<E>(self, _: u64) -> Result<Document, E> {
        self.no_object()
    }

    fn visit_f64<E>(self, _: f64) -> Result<Document, E> {
        self.no_object()
    }

    fn visit_str<E>(self, _: &str) -> Result<Document, E> {
        self.no_object()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Document, A::Error> {
        while seq
            .next_element_seed(Bounded(&Cell::new(VALUES)))?
            .is_some()
        {}
        self.no_object()
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let left = Cell::new(VALUES);
        let mut fields = Map::new();
        let mut items = Items::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "items" {
                items.list = decode::api(&fields, "").ok();
                map.next_value_seed(&mut items)?;
            } else {
                let field = map.next_value_seed(Bounded(&left))?;
                fields.insert(key, field);
            }
        }
        Ok(Document(Some(items.finish(fields))))
    }
}

/// What stands under `items`.
struct Items {
    /// `apiVersion` and `kind` of the list, where they came first.
    list: Option<(String, String)>,
    found: bool,
    /// Whether it was anything else than a list.
    malformed: bool,
    decoded: Vec<Decoded>,
    error: Option<Undecodable>,
    /// Items that do not say their kind, of a list that has not said its own yet.
    waiting: Vec<(usize, Value)>,
    /// How many values may still wait.
    room: Cell<usize>,
}

impl Items {
    fn new() -> Self {
        Self {
            list: None,
            found: false,
            malformed: false,
            decoded: Vec::new(),
            error: None,
            waiting: Vec::new(),
            room: Cell::new(VALUES),
        }
    }

    fn take<E: Error>(&mut self, number: usize, mut item: Value, size: usize) -> Result<(), E> {
        let list = self.list.clone();
        if let (Value::Object(fields), Some((version, kind))) = (&mut item, &list) {
            let kind = kind.strip_suffix("List").unwrap_or_default();
            decode::complete(fields, version, kind);
        }
        let stated = item.get("kind").is_some() && item.get("apiVersion").is_some();
        if stated || list.is_some() {
            self.decode(number, item);
            return Ok(());
        }
        spend(&self.room, size)?;
        self.waiting.push((number, item));
        Ok(())
    }

    fn decode(&mut self, number: usize, item: Value) {
        if self.error.is_none() {
            let at = format!("items[{number}]");
            let taken = decode::take(item, &at, LISTS - 1, &mut self.decoded);
            self.error = taken.err();
        }
    }

    /// Every object of the document that has these fields besides `items`.
    fn finish(mut self, fields: Map<String, Value>) -> Result<Vec<Decoded>, Undecodable> {
        let (version, kind) = decode::api(&fields, "")?;
        let item_kind = kind.strip_suffix("List").filter(|_| self.found);
        let Some(item_kind) = item_kind else {
            return Ok(vec![decode::one(&version, &kind, fields, "")?]);
        };
        if self.malformed {
            return Err(decode::not_a_list());
        }
        for (number, mut item) in std::mem::take(&mut self.waiting) {
            if let Value::Object(fields) = &mut item {
                decode::complete(fields, &version, item_kind);
            }
            self.decode(number, item);
        }
        self.error.map_or(Ok(self.decoded), Err)
    }
}

impl<'de> DeserializeSeed<'de> for &mut Items {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.found = true;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Items {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.malformed = true;
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.malformed = true;
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.malformed = true;
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.malformed = true;
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.malformed = true;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.malformed = true;
        let left = Cell::new(VALUES);
        while map.next_key::<String>()?.is_some() {
            map.next_value_seed(Bounded(&left))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for number in 0.. {
            let left = Cell::new(VALUES);
            let Some(item) = seq.next_element_seed(Bounded(&left))? else {
                break;
            };
            self.take(number, item, VALUES - left.get())?;
        }
        Ok(())
    }
}

/// A value of any kind, as long as it holds no more values than are left.
#[derive(Clone, Copy)]
struct Bounded<'a>(&'a Cell<usize>);

fn spend<E: Error>(left: &Cell<usize>, values: usize) -> Result<(), E> {
    let rest = left.get().checked_sub(values).ok_or_else(|| {
        E::custom(format!(
            "one object holds more than {VALUES} values, which Kubernetes would not store"
        ))
    })?;
    left.set(rest);
    Ok(())
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        spend(self.0, 1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            fields.insert(key, map.next_value_seed(self)?);
        }
        Ok(Value::Object(fields))
    }
}
