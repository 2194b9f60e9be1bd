//! Fields in their one documented form.
//!
//! Derived serde implementations accept more: a struct also from an array of its fields, and an enum also from an
//! object whose only member is the name of a variant.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{CowStrDeserializer, MapAccessDeserializer};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Reads a struct from an object only; null is none.
pub(super) fn object<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.map(|Object(value)| value))
}

struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        deserializer.deserialize_map(Members(PhantomData)).map(Object)
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Reads an enum from the name of a variant only; null is none.
pub(super) fn name<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let name: Option<Cow<'de, str>> = Option::deserialize(deserializer)?;
    name.map(|name| T::deserialize(CowStrDeserializer::new(name))).transpose()
}

#[cfg(test)]
mod tests {
    use crate::protocol::decode_request;
    use crate::store::{Code, Error};

    fn refused(line: &str) -> Error {
        match decode_request(line.as_bytes()) {
            Ok(incoming) => panic!("taken as {:?}", incoming.call),
            Err((_, error)) => error,
        }
    }

    #[test]
    fn a_fence_is_an_object() {
        let put = |fence: &str| format!(r#"{{"op":"put","key":"a","value":1,"fence":{fence}}}"#);
        assert!(decode_request(put(r#"{"lock":"deploy","token":1}"#).as_bytes()).is_ok());
        assert!(decode_request(put("null").as_bytes()).is_ok());
        for (fence, field) in
            [(r#"["deploy",1]"#, "fence"), ("1", "fence"), (r#"{"lock":"deploy","token":-1}"#, "fence.token")]
        {
            let error = refused(&put(fence));
            assert_eq!((error.code, error.details.field.as_deref()), (Code::BadRequest, Some(field)));
        }
    }

    #[test]
    fn a_format_is_a_name() {
        let patch = |format: &str| format!(r#"{{"op":"patch","key":"a","patch":{{}},"format":{format}}}"#);
        for format in [r#""merge""#, r#""json-patch""#, r#""\u006derge""#, "null"] {
            assert!(decode_request(patch(format).as_bytes()).is_ok(), "{format}");
        }
        for format in [r#"{"merge":null}"#, r#"{"json-patch":null}"#, r#""Merge""#, "[]"] {
            let error = refused(&patch(format));
            assert_eq!((error.code, error.details.field.as_deref()), (Code::BadRequest, Some("format")));
        }
    }
}
