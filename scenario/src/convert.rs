//! From the fields of steps to what the engine takes, and back.

use std::sync::Arc;

use tollgate::{
    AccountId, Amount, Finish, IpNet, PRESETS, PolicyConfig, StoredResponse, parse_network, preset,
};

use crate::error::StepError;
use crate::fields::{FinishOutcome, PolicyStep, ResponseFields};
use crate::wire::Wire;

/// The policy of a `policy` or `reload` step.
pub(crate) fn config(step: &PolicyStep) -> Result<PolicyConfig, StepError> {
    let config = match (&step.policy, &step.preset) {
        (Some(policy), None) => PolicyConfig::from_json_value(policy).map_err(StepError::of)?,
        (None, Some(name)) => preset(name).ok_or_else(|| {
            StepError::new(format!("there is no preset `{name}`; there are {}", PRESETS.join(", ")))
        })?,
        _ => return Err(StepError::new("give either `policy` or `preset`")),
    };
    match &step.patch {
        Some(patch) => config.merge_patch(patch).map_err(StepError::of),
        None => Ok(config),
    }
}

pub(crate) fn account_id(text: &str) -> Result<AccountId, StepError> {
    AccountId::new(text).map_err(StepError::of)
}

pub(crate) fn networks(texts: Option<Vec<String>>) -> Result<Option<Vec<IpNet>>, StepError> {
    texts
        .map(|texts| texts.iter().map(|text| parse_network(text).map_err(StepError::of)).collect())
        .transpose()
}

pub(crate) fn finish(
    outcome: FinishOutcome,
    amount: Option<Amount>,
    response: Option<ResponseFields>,
) -> Result<Finish, StepError> {
    if amount.is_some() && outcome != FinishOutcome::Settle {
        return Err(StepError::new("`amount` goes with the outcome `settle` only"));
    }
    let response = response.map(stored).transpose()?.map(Arc::new);
    match outcome {
        FinishOutcome::Settle => Ok(Finish::Settle { amount, response }),
        FinishOutcome::Void => Ok(Finish::Void { response }),
        FinishOutcome::Unknown if response.is_some() => {
            Err(StepError::new("`response` does not go with the outcome `unknown`"))
        }
        FinishOutcome::Unknown => Ok(Finish::Unknown),
    }
}

fn stored(response: ResponseFields) -> Result<StoredResponse, StepError> {
    if !(100..=999).contains(&response.status) {
        return Err(StepError::new("the response's `status` is 100 to 999"));
    }
    let headers = response
        .headers
        .into_iter()
        .map(|(name, value)| match Wire::parse(&name) {
            Some(_) => Ok((name.into_boxed_str(), value.as_ref().into())),
            None => Err(StepError::new("the name of a header has a code point above U+00FF")),
        })
        .collect::<Result<_, _>>()?;
    let body = response.body.map(|body| body.into_bytes().into_boxed_slice());
    Ok(StoredResponse { status: response.status, headers, body })
}
