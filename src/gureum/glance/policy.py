"""Glance's rules under OpenStack's names, with the personas reader, member and admin.

What a caller may see at all is decided before any rule, by owner, visibility and membership; an invisible
image is 404. Services read images for guests and volumes in the name of no user, so their role reads too.
"""

from __future__ import annotations

from gureum.core.policy.rules import ADMIN, ADMIN_OR_MEMBER, ADMIN_OR_READER, SERVICE, Rule

_SEEN = (
    "project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s"
    " or 'public':%(visibility)s"
)
_READ = f"({ADMIN}) or ({SERVICE}) or (role:reader and ({_SEEN}))"
_USE = f"({ADMIN}) or ({SERVICE}) or (role:member and ({_SEEN}))"
_CREATE = f"({ADMIN}) or (role:member and project_id:%(project_id)s and project_id:%(owner)s)"
_AS_MEMBER = f"({ADMIN}) or (role:member and project_id:%(member_id)s)"
_READ_MEMBER = (
    f"({ADMIN}) or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s))"
)

_DEFINED = f"({ADMIN}) or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))"
_SEE = {
    "get_metadef_namespace": "Show a metadata definition namespace.",
    "get_metadef_namespaces": "List metadata definition namespaces.",
    "get_metadef_object": "Show a metadata definition object.",
    "get_metadef_objects": "List metadata definition objects.",
    "get_metadef_property": "Show a metadata definition property.",
    "get_metadef_properties": "List metadata definition properties.",
    "get_metadef_tag": "Show a metadata definition tag.",
    "get_metadef_tags": "List metadata definition tags.",
    "get_metadef_resource_type": "List the resource types of a namespace.",
    "list_metadef_resource_types": "List the resource types.",
}
_MANAGE = {
    "add_metadef_namespace": "Create a metadata definition namespace.",
    "modify_metadef_namespace": "Change a metadata definition namespace.",
    "delete_metadef_namespace": "Delete a metadata definition namespace.",
    "add_metadef_object": "Create a metadata definition object.",
    "modify_metadef_object": "Change a metadata definition object.",
    "delete_metadef_object": "Delete a metadata definition object.",
    "add_metadef_property": "Create a metadata definition property.",
    "modify_metadef_property": "Change a metadata definition property.",
    "remove_metadef_property": "Delete a metadata definition property.",
    "add_metadef_tag": "Create a metadata definition tag.",
    "add_metadef_tags": "Create metadata definition tags.",
    "modify_metadef_tag": "Change a metadata definition tag.",
    "delete_metadef_tag": "Delete a metadata definition tag.",
    "delete_metadef_tags": "Delete the metadata definition tags of a namespace.",
    "add_metadef_resource_type_association": "Associate a namespace with a resource type.",
    "remove_metadef_resource_type_association": "End such an association.",
}

RULES = [
    Rule("add_image", _CREATE, "Create an image."),
    Rule("get_image", _READ, "Show an image."),
    Rule("get_images", f"{ADMIN_OR_READER} or ({SERVICE})", "List images."),
    Rule("modify_image", ADMIN_OR_MEMBER, "Change an image's attributes and tags."),
    Rule("delete_image", ADMIN_OR_MEMBER, "Delete an image."),
    Rule("publicize_image", ADMIN, "Make an image public."),
    Rule("communitize_image", ADMIN_OR_MEMBER, "Make an image a community image."),
    Rule("upload_image", ADMIN_OR_MEMBER, "Send an image's bytes."),
    Rule("download_image", _USE, "Fetch an image's bytes."),
    Rule("deactivate", ADMIN_OR_MEMBER, "Take an image's bytes out of use."),
    Rule("reactivate", ADMIN_OR_MEMBER, "Bring an image's bytes back into use."),
    Rule("add_member", ADMIN_OR_MEMBER, "Share an image with a project."),
    Rule("delete_member", ADMIN_OR_MEMBER, "End sharing an image with a project."),
    Rule("modify_member", _AS_MEMBER, "Accept or reject a shared image."),
    Rule("get_member", _READ_MEMBER, "Show one member of an image."),
    Rule("get_members", _READ_MEMBER, "List the members of an image."),
    Rule("copy_image", ADMIN, "Copy an image into further stores."),
    Rule("get_image_location", ADMIN_OR_READER, "See where an image's bytes are."),
    Rule("set_image_location", ADMIN_OR_MEMBER, "Add a location to an image by patch."),
    Rule("delete_image_location", ADMIN, "Remove an image's bytes from one place."),
    Rule(
        "add_image_location",
        f"({ADMIN_OR_MEMBER}) or ({SERVICE})",
        "Give a queued image its bytes by a location.",
    ),
    Rule("fetch_image_location", SERVICE, "List an image's locations, for other services."),
    Rule("cache_image", ADMIN, "Ask for an image in the cache."),
    Rule("cache_list", ADMIN, "List the cache and its queue."),
    Rule("cache_delete", ADMIN, "Remove images from the cache."),
    Rule("cache_prune", ADMIN, "Shrink the cache to its size."),
    Rule("cache_clean", ADMIN, "Remove broken files from the cache."),
    Rule("tasks_api_access", ADMIN, "Use the tasks API."),
    Rule("add_task", "", "Begin a task, for those with tasks_api_access."),
    Rule("get_task", "", "Show a task, for those with tasks_api_access."),
    Rule("get_tasks", "", "List tasks, for those with tasks_api_access."),
    Rule("stores_info_detail", ADMIN, "List the stores with their properties."),
]
RULES += [Rule(name, _DEFINED, text) for name, text in _SEE.items()]
RULES += [Rule(name, ADMIN, text) for name, text in _MANAGE.items()]
