"""The shapes of metadata definitions, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gureum.core.spec import (
    Boolean,
    Enum,
    Integer,
    Invalid,
    Json,
    ListOf,
    Nested,
    String,
    Struct,
    Time,
)
from gureum.glance.store.metadefs import Association, Item, Namespace

_TYPES = ("array", "boolean", "integer", "number", "object", "string", "null")
_BASE = "/v2/metadefs/namespaces"


class PropertyBody(Struct):
    """What is said of a property, as in JSON schema."""

    title = String("Title.", required=True)
    type = Enum("Type of the value.", *_TYPES, required=True)
    description = String("What it means.", max=65535)
    operators = ListOf(String("An operator."), "Operators that a value may carry.")
    readonly = Boolean("Whether users may not set it.", strict=True)
    default = Json("Default value.")
    enum = Json("Allowed values.", kinds=(list,))
    pattern = String("Regular expression of the value.", max=65535)
    minimum = Json("Least number.", kinds=(int, float))
    maximum = Json("Greatest number.", kinds=(int, float))
    min_length = Integer("Least length.", key="minLength", min=0)
    max_length = Integer("Greatest length.", key="maxLength", min=0)
    min_items = Integer("Least number of items.", key="minItems", min=0)
    max_items = Integer("Greatest number of items.", key="maxItems", min=0)
    unique_items = Boolean("Whether items differ.", key="uniqueItems", strict=True)
    additional_items = Boolean("Whether more items may stand.", key="additionalItems", strict=True)
    items_shape = Json("What items are.", key="items", kinds=(dict,))


class PropertyNew(PropertyBody):
    """A property."""

    name = String("Name.", min=1, max=80, required=True)


class PropertyView(PropertyNew):
    """A property as it is kept."""


class ObjectNew(Struct):
    """An object: properties that belong together."""

    name = String("Name.", min=1, max=80, required=True)
    description = String("What it means.", null=True, max=65535)
    required = ListOf(String("A name."), "Names of required properties.")
    properties = Json("Properties by name.", kinds=(dict,))

    def check(self) -> None:
        """Check every property. Raises: Invalid."""
        check_properties(self.get("properties") or {})


class ObjectView(ObjectNew):
    """An object as it is kept."""

    self_link = String("URL of the object.", key="self")
    schema_link = String("URL of the schema.", key="schema")
    created_at = Time("When it was made.")
    updated_at = Time("When it was changed.")


class TagNew(Struct):
    """A tag definition."""

    name = String("Name.", min=1, max=80, required=True)


class TagUpdate(TagNew, extra="ignore"):
    """A tag definition's new name. Clients send what they were shown of the tag too."""


class TagView(TagNew):
    """A tag definition as it is kept."""

    self_link = String("URL of the tag.", key="self")
    schema_link = String("URL of the schema.", key="schema")
    created_at = Time("When it was made.")
    updated_at = Time("When it was changed.")


class TagsNew(Struct):
    """Tag definitions."""

    tags = ListOf(Nested(TagNew, "A tag."), "The tags.", max=1000, required=True)


class AssociationNew(Struct):
    """A resource type that a namespace is for."""

    name = String("Resource type, such as OS::Nova::Server.", min=1, max=80, required=True)
    prefix = String("Prefix of the properties there.", null=True, max=80)
    properties_target = String("Where the properties go, such as metadata.", null=True, max=80)


class AssociationView(AssociationNew):
    """An association as it is kept."""

    created_at = Time("When it was made.")
    updated_at = Time("When it was changed.")


class ResourceTypeView(Struct):
    """A kind of resource that carries metadata."""

    name = String("Name.")
    created_at = Time("When it was made.")
    updated_at = Time("When it was changed.")


class NamespaceUpdate(Struct, extra="ignore"):
    """All attributes of a namespace; what is not given gets its default."""

    namespace = String("Name, unique in the cloud.", min=1, max=80, required=True)
    display_name = String("Name for people.", null=True, max=80)
    description = String("What it is for.", null=True, max=500)
    visibility = Enum("Who may see it.", "public", "private")
    protected = Boolean("Whether it cannot be deleted.", strict=True)
    owner = String("Project that owns it.", max=255)


class NamespaceNew(NamespaceUpdate, extra="forbid"):
    """A namespace, perhaps with what is in it."""

    properties = Json("Properties by name.", kinds=(dict,))
    objects = ListOf(Nested(ObjectNew, "An object."), "Objects.", max=1000)
    tags = ListOf(Nested(TagNew, "A tag."), "Tags.", max=1000)
    resource_type_associations = ListOf(
        Nested(AssociationNew, "An association."), "Resource types.", max=1000
    )

    def check(self) -> None:
        """Check every property. Raises: Invalid."""
        check_properties(self.get("properties") or {})


class NamespaceView(NamespaceUpdate, extra="forbid"):
    """A namespace with what is in it."""

    properties = Json("Properties by name.")
    objects = ListOf(Nested(ObjectView, "An object."), "Objects.")
    tags = ListOf(Nested(TagView, "A tag."), "Tags.")
    resource_type_associations = ListOf(
        Nested(AssociationView, "An association."), "Resource types."
    )
    self_link = String("URL of the namespace.", key="self")
    schema_link = String("URL of the schema.", key="schema")
    created_at = Time("When it was made.")
    updated_at = Time("When it was changed.")


class NamespaceQuery(Struct, extra="ignore"):
    """Filters, order and paging."""

    limit = Integer("Page size.", min=0)
    marker = String("Name of the last namespace of the page before.")
    visibility = Enum("public or private.", "public", "private")
    resource_types = ListOf(String("A name."), "Namespaces for any of these.", comma=True)
    sort_key = String("Attribute to sort by.", default="created_at")
    sort_dir = Enum("Direction.", "asc", "desc", default="desc")


class NamespaceDetailQuery(Struct, extra="ignore"):
    """How a namespace is shown."""

    resource_type = String("Show names of properties with the prefix of this resource type.")


def check_properties(properties: Mapping[str, Any]) -> None:
    """Check properties by name. Raises: Invalid."""
    for name, body in properties.items():
        if not 1 <= len(name) <= 80:
            raise Invalid("properties", "a name must have 1 to 80 characters")
        PropertyBody.parse(body, path=f"properties.{name}")


def given(new: Struct) -> dict[str, Any]:
    """Return the attributes of a request but the name, as they are kept."""
    return {name: value for name, value in new.items() if name != "name"}


def shown_property(item: Item) -> dict[str, Any]:
    """Show a property."""
    return {**item.body, "name": item.name}


def property_json(item: Item) -> dict[str, Any]:
    """Return a property as the value of its name."""
    return PropertyBody.render(item.body)


def _links(item: Item, kind: str) -> dict[str, Any]:
    return {
        "self_link": f"{_BASE}/{item.namespace}/{kind}s/{item.name}",
        "schema_link": f"/v2/schemas/metadefs/{kind}",
        "created_at": item.created_at,
        "updated_at": item.updated_at,
    }


def shown_object(item: Item) -> dict[str, Any]:
    """Show an object."""
    return {"properties": {}, "required": [], **item.body, "name": item.name} | _links(
        item, "object"
    )


def shown_tag(item: Item) -> dict[str, Any]:
    """Show a tag."""
    return {"name": item.name} | _links(item, "tag")


def shown_association(found: Association) -> dict[str, Any]:
    """Show an association; what has no value is left out."""
    values = {name: getattr(found, name) for name in AssociationView.fields}
    return {name: value for name, value in values.items() if value is not None}


def shown_namespace(found: Namespace) -> dict[str, Any]:
    """Show a namespace without what is in it."""
    values = {name: getattr(found, name) for name in Namespace.__slots__ if name != "project_id"}
    return {
        **values,
        "owner": found.project_id,
        "self_link": f"{_BASE}/{found.namespace}",
        "schema_link": "/v2/schemas/metadefs/namespace",
    }
