from nexus_core.structured.schema_check import (
    InvalidSchemaError as InvalidSchemaError,
    check_schema as check_schema,
    pointer as pointer,
)
from nexus_core.structured.schema_validator import (
    SchemaMismatch as SchemaMismatch,
    SchemaValidator as SchemaValidator,
    validator_of as validator_of,
)
from nexus_core.structured.structured_answers import (
    StructuredAnswer as StructuredAnswer,
    describe_schema as describe_schema,
    read_answer as read_answer,
)
