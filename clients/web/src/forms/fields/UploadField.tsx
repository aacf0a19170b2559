// A field that names an upload.
import { TextField } from "./TextField";
import type { FieldProps } from "./FieldView";

export function UploadField(props: FieldProps) {
  return <TextField {...props} />;
}
