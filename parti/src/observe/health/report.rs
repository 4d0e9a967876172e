//! Health for serde, as probes and dashboards read it: `{"live":true,"ready":false,"conditions":[...]}`.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{Condition, Health, HealthCode, Impact};

impl Serialize for Health {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut health = serializer.serialize_struct("Health", 3)?;
        health.serialize_field("live", &self.is_live())?;
        health.serialize_field("ready", &self.is_ready())?;
        health.serialize_field("conditions", &self.conditions)?;
        health.end()
    }
}

impl Serialize for Condition {
    /// `lasting` is in seconds.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut condition = serializer.serialize_struct("Condition", 4)?;
        condition.serialize_field("code", &self.code)?;
        condition.serialize_field("impact", &self.code.impact())?;
        condition.serialize_field(
            "lasting",
            &self.lasting.map(|lasting| lasting.as_secs_f64()),
        )?;
        condition.serialize_field("detail", &self.detail)?;
        condition.end()
    }
}

impl Serialize for HealthCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Impact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Report => "report",
            Self::Unready => "unready",
            Self::Dead => "dead",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Probes and dashboards are written against these names once, and read them for years.
    #[test]
    fn health_is_told_by_stable_names() {
        let well = serde_json::json!({ "live": true, "ready": true, "conditions": [] });
        let said = |health: &Health| serde_json::to_value(health).expect("serializes");
        assert_eq!(said(&Health::default()), well);
        let condition = |code, lasting| {
            let detail = "since noon".to_owned();
            Condition {
                code,
                lasting,
                detail,
            }
        };
        let ill = Health {
            conditions: vec![
                condition(HealthCode::DriverStalled, Some(Duration::from_millis(2500))),
                condition(HealthCode::Unowned, None),
            ],
        };
        let expected = serde_json::json!({ "live": false, "ready": false, "conditions": [
            { "code": "driver_stalled", "impact": "dead", "lasting": 2.5, "detail": "since noon" },
            { "code": "partitions_unowned", "impact": "report", "lasting": null, "detail": "since noon" },
        ] });
        assert_eq!(said(&ill), expected);
    }
}
