//! Expressions of jq, which say in what state a value is wanted.

use std::sync::Arc;

use jaq_core::data::JustLut;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, unwrap_valr};
use jaq_json::Val;
use kv::store::{Code, Error, JsonText, Result};

use super::arguments::usage;

/// An expression that can be applied to values.
pub(super) struct Expression(Arc<Filter<JustLut<Val>>>);

impl Expression {
    /// # Errors
    /// A usage error when it is not an expression.
    pub(super) fn parse(text: &str) -> Result<Expression> {
        let refused = |what: &str| {
            usage(&format!("--jq: {what}"), "write it as for jq, for example: --jq '.state == \"ready\"'")
        };
        let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
        let arena = Arena::default();
        let modules = Loader::new(definitions)
            .load(&arena, File { code: text, path: () })
            .map_err(|_| refused(&format!("{text:?} is not an expression of jq")))?;
        let filter = Compiler::default().with_funs(functions).compile(modules).map_err(|errors| {
            let unknown = errors.iter().flat_map(|(_, errors)| errors).map(|(name, _)| *name).next();
            refused(&format!("there is no {}", unknown.unwrap_or("such function")))
        })?;
        Ok(Expression(Arc::new(filter)))
    }

    /// Whether the first result for a value is neither false nor null. An expression that fails for a value does not
    /// hold, as one without a result. It runs on a thread of its own: it may go on for ever.
    pub(super) async fn holds(&self, value: &JsonText) -> Result<bool> {
        let (filter, value) = (Arc::clone(&self.0), value.clone());
        let running = tokio::task::spawn_blocking(move || {
            let Ok(value) = jaq_json::read::parse_single(value.get().as_bytes()) else { return false };
            let context = Ctx::<JustLut<Val>>::new(&filter.lut, Vars::new([]));
            let first = filter.id.run((context, value)).map(unwrap_valr).next();
            first.is_some_and(|result| {
                result.is_ok_and(|value| !matches!(value, Val::Null | Val::Bool(false)))
            })
        });
        running.await.map_err(|error| Error::new(Code::Internal, error.to_string()))
    }
}
