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
    Rule("stores_info_detail", ADMIN, "List the stores with their properties."),
]
