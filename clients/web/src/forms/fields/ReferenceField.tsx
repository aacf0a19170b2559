// A field that names an object: picked from what the server finds, or typed.
import { Autocomplete } from "@mantine/core";
import { useState } from "react";
import { useField, useForm } from "../context";
import { useReferences } from "../useReferences";
import { nounOf, withArticle } from "../words";
import { FoundNote } from "./FoundNote";
import { FoundOption } from "./FoundOption";
import type { FieldProps } from "./FieldView";

interface Props extends FieldProps {
  type: string;
}

export function ReferenceField({ spec, path, type }: Props) {
  const { catalogue, fixed } = useForm();
  const { value, change, error, id } = useField<string>(path);
  const [opened, setOpened] = useState(false);
  // What is picked is no search for others like it.
  const [searched, setSearched] = useState("");
  const found = useReferences(catalogue, type, searched, opened);
  const about = new Map(found.candidates.map((candidate) => [candidate.name, candidate.about]));
  return (
    <Autocomplete
      id={id}
      label={spec.label}
      description={spec.help}
      placeholder={`Search for ${withArticle(nounOf(type))}`}
      error={error}
      required={spec.required}
      readOnly={spec.immutable && fixed}
      variant={spec.immutable && fixed ? "filled" : "default"}
      clearable={!spec.required}
      clearButtonProps={{ "aria-label": `Clear ${spec.label}` }}
      spellCheck={false}
      value={value}
      data={found.candidates.map((candidate) => candidate.name)}
      filter={({ options }) => options}
      limit={50}
      onChange={(text) => {
        change(text);
        setSearched(about.has(text) ? "" : text);
      }}
      onDropdownOpen={() => setOpened(true)}
      onFocus={() => setOpened(true)}
      maxDropdownHeight={300}
      renderOption={({ option }) => <FoundOption name={option.value} about={about.get(option.value)} />}
      inputWrapperOrder={["label", "description", "input", "error"]}
      inputContainer={(input) => (
        <>
          {input}
          {opened && <FoundNote found={found} type={type} searched={searched} />}
        </>
      )}
    />
  );
}
