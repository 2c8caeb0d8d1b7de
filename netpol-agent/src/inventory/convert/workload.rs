//! Owners of pods.

use k8s_openapi::Resource;
use k8s_openapi::api::{apps::v1 as apps, batch::v1 as batch, core::v1 as core};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use netpol_common::names::WorkloadName;

use super::pod::named_ports;
use super::{FieldError, ToObject, labels, name, namespace, owner};
use crate::identity::objects::{Labels, Object, Owner};

/// An owner of which only the metadata is known.
pub(crate) fn owner_of_metadata(kind: &str, metadata: &ObjectMeta) -> Result<Object, FieldError> {
    to_owner(kind, metadata, None, None)
}

impl ToObject for apps::Deployment {
    fn to_object(&self) -> Result<Object, FieldError> {
        let spec = self.spec.as_ref();
        let selector = spec.and_then(|spec| spec.selector.match_labels.clone());
        let template = spec.map(|spec| &spec.template);
        to_owner(Self::KIND, &self.metadata, selector, template)
    }
}

impl ToObject for apps::StatefulSet {
    fn to_object(&self) -> Result<Object, FieldError> {
        let spec = self.spec.as_ref();
        let selector = spec.and_then(|spec| spec.selector.match_labels.clone());
        let template = spec.map(|spec| &spec.template);
        to_owner(Self::KIND, &self.metadata, selector, template)
    }
}

impl ToObject for apps::DaemonSet {
    fn to_object(&self) -> Result<Object, FieldError> {
        let spec = self.spec.as_ref();
        let selector = spec.and_then(|spec| spec.selector.match_labels.clone());
        let template = spec.map(|spec| &spec.template);
        to_owner(Self::KIND, &self.metadata, selector, template)
    }
}

impl ToObject for apps::ReplicaSet {
    fn to_object(&self) -> Result<Object, FieldError> {
        let spec = self.spec.as_ref();
        let selector = spec.and_then(|spec| spec.selector.match_labels.clone());
        let template = spec.and_then(|spec| spec.template.as_ref());
        to_owner(Self::KIND, &self.metadata, selector, template)
    }
}

impl ToObject for core::ReplicationController {
    fn to_object(&self) -> Result<Object, FieldError> {
        let spec = self.spec.as_ref();
        let selector = spec.and_then(|spec| spec.selector.clone());
        let template = spec.and_then(|spec| spec.template.as_ref());
        to_owner(Self::KIND, &self.metadata, selector, template)
    }
}

impl ToObject for batch::Job {
    /// A Job's selector names its run, so it is not kept.
    fn to_object(&self) -> Result<Object, FieldError> {
        let template = self.spec.as_ref().map(|spec| &spec.template);
        to_owner(Self::KIND, &self.metadata, None, template)
    }
}

impl ToObject for batch::CronJob {
    fn to_object(&self) -> Result<Object, FieldError> {
        let spec = self.spec.as_ref();
        let job = spec.and_then(|spec| spec.job_template.spec.as_ref());
        to_owner(
            Self::KIND,
            &self.metadata,
            None,
            job.map(|job| &job.template),
        )
    }
}

fn to_owner(
    kind: &str,
    metadata: &ObjectMeta,
    selector: Option<Labels>,
    template: Option<&core::PodTemplateSpec>,
) -> Result<Object, FieldError> {
    let of_template = template.and_then(|template| template.metadata.as_ref());
    let spec = template.and_then(|template| template.spec.as_ref());
    Ok(Object::Owner(Owner {
        name: WorkloadName::new(namespace(metadata)?, kind, name(metadata)?),
        uid: metadata.uid.clone().unwrap_or_default(),
        generate_name: metadata.generate_name.clone(),
        owner: owner(metadata),
        selector: selector.unwrap_or_default(),
        template_labels: of_template.map(labels).unwrap_or_default(),
        host_network: spec.is_some_and(|spec| spec.host_network == Some(true)),
        named_ports: spec.map(named_ports).transpose()?.unwrap_or_default(),
    }))
}
