"""AWS on 127.0.0.1 for Terraform's provider: `python cloud.py PORT`.

It is moto's server. What moto accepts and then leaves out of its answers, or answers as AWS does
not, is closed here by what the request said; else a second plan finds differences that AWS has not.
"""

import os
import sys
from typing import Any

from moto.ec2.responses.launch_templates import LaunchTemplates
from moto.eks.responses import EKSResponse
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.rds.models import DBParameterGroup
from moto.rds.responses import RDSResponse
from moto.server import main

create_cluster = EKSResponse.create_cluster
create_nodegroup = EKSResponse.create_nodegroup
create_db_instance = RDSResponse.create_db_instance
update_parameters = DBParameterGroup.update_parameters
create_launch_template = LaunchTemplates.create_launch_template
is_action_permitted = IAMPolicyStatement.is_action_permitted


def cluster_with_access(self: EKSResponse) -> Any:
    answer = create_cluster(self)
    cluster: Any = self.eks_backend.clusters[self._get_param("name")]
    cluster.access_config = self._get_param("accessConfig")
    return answer


def nodegroup_without_defaults(self: EKSResponse) -> Any:
    answer = create_nodegroup(self)
    cluster = self.eks_backend.clusters[self._get_param("name")]
    nodegroup = cluster.nodegroups[self._get_param("nodegroupName")]
    nodegroup.update_config = self._get_param("updateConfig")
    nodegroup.remote_access = self._get_param("remoteAccess")
    return answer


def instance_with_insights(self: RDSResponse) -> Any:
    answer = create_db_instance(self)
    instance: Any = self.backend.describe_db_instances(self.params["DBInstanceIdentifier"])[0]
    instance.performance_insights_enabled = self.params.get("EnablePerformanceInsights")
    instance.performance_insights_kms_key_id = self.params.get("PerformanceInsightsKMSKeyId")
    return answer


def parameters_of_users(self: DBParameterGroup, new_parameters: Any) -> None:
    update_parameters(self, [{**parameter, "Source": "user"} for parameter in new_parameters])


def template_without_own_tags(self: LaunchTemplates) -> Any:
    """A template's own tags are no part of what it makes."""
    answer = create_launch_template(self)
    template = self.ec2_backend.get_launch_template_by_name(self._get_param("LaunchTemplateName"))
    data = template.default_version().data
    tags = data.get("TagSpecifications", [])
    data["TagSpecifications"] = [each for each in tags if each["ResourceType"] != "launch-template"]
    return answer


def conditions_are_not_met(self: IAMPolicyStatement, *given: Any, **named: Any) -> PermissionResult:
    """moto takes a statement's condition for met; ours denies what comes without TLS."""
    if "Condition" in self._statement:
        return PermissionResult.NEUTRAL
    return is_action_permitted(self, *given, **named)


if __name__ == "__main__":
    EKSResponse.create_cluster = cluster_with_access  # type: ignore[method-assign]
    EKSResponse.create_nodegroup = nodegroup_without_defaults  # type: ignore[method-assign]
    RDSResponse.create_db_instance = instance_with_insights  # type: ignore[method-assign]
    DBParameterGroup.update_parameters = parameters_of_users  # type: ignore[method-assign]
    LaunchTemplates.create_launch_template = template_without_own_tags  # type: ignore[method-assign]
    IAMPolicyStatement.is_action_permitted = conditions_are_not_met  # type: ignore[method-assign]
    # AWS's own policies, which roles here take.
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
    main(["--host", "127.0.0.1", "--port", sys.argv[1]])
