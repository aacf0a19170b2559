// One field of a form: the widget that its kind asks for.
import type { Path } from "../draft";
import type { FieldSpec } from "../spec";
import { CarriedField } from "./CarriedField";
import { ChoiceField } from "./ChoiceField";
import { JsonField } from "./JsonField";
import { ListField } from "./ListField";
import { MapField } from "./MapField";
import { MessageField } from "./MessageField";
import { OneofField } from "./OneofField";
import { ReferenceField } from "./ReferenceField";
import { ReferencesField } from "./ReferencesField";
import { RequestField } from "./RequestField";
import { TextField } from "./TextField";
import { TimeField } from "./TimeField";
import { TruthField } from "./TruthField";
import { UploadField } from "./UploadField";

/** A widget's field, and where it stands in the draft. */
export interface FieldProps {
  spec: FieldSpec;
  path: Path;
}

export function FieldView({ spec, path }: FieldProps) {
  const { control } = spec;
  switch (control.kind) {
    case "reference":
      return <ReferenceField spec={spec} path={path} type={control.type} />;
    case "references":
      return <ReferencesField spec={spec} path={path} type={control.type} />;
    case "choice":
      return <ChoiceField spec={spec} path={path} choices={control.choices} unset={control.unset} />;
    case "truth":
      return <TruthField spec={spec} path={path} />;
    case "time":
      return <TimeField spec={spec} path={path} />;
    case "upload":
      return <UploadField spec={spec} path={path} />;
    case "message":
      return <MessageField spec={spec} path={path} fields={control.fields} />;
    case "list":
      return <ListField spec={spec} path={path} item={control.item} />;
    case "map":
      return <MapField spec={spec} path={path} value={control.value} />;
    case "oneof":
      return <OneofField spec={spec} path={path} members={control.members} />;
    case "request":
      return <RequestField spec={spec} path={path} />;
    case "etag":
    case "request_id":
    case "preview":
    case "changes":
      return <CarriedField spec={spec} path={path} kind={control.kind} />;
    case "json":
      return <JsonField spec={spec} path={path} />;
    default:
      return <TextField spec={spec} path={path} />;
  }
}
