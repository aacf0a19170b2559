// A field that names several objects: picked one after another from what the server finds, or typed.
import { TagsInput } from "@mantine/core";
import { useState } from "react";
import { useField, useForm } from "../context";
import { pathText } from "../draft";
import { useReferences } from "../useReferences";
import { nounOf } from "../words";
import { FoundNote } from "./FoundNote";
import { FoundOption } from "./FoundOption";
import type { FieldProps } from "./FieldView";

interface Props extends FieldProps {
  type: string;
}

export function ReferencesField({ spec, path, type }: Props) {
  const { catalogue, errors } = useForm();
  const { value, change, error, id } = useField<string[]>(path);
  const [opened, setOpened] = useState(false);
  const [searched, setSearched] = useState("");
  const found = useReferences(catalogue, type, searched, opened);
  const about = new Map(found.candidates.map((candidate) => [candidate.name, candidate.about]));
  const inItems = value.flatMap((name, index) => {
    const wrong = errors[pathText([...path, index])];
    return wrong ? [`${name}: ${wrong}`] : [];
  });
  return (
    <TagsInput
      id={id}
      label={spec.label}
      description={spec.help}
      placeholder={value.length === 0 ? `Search for ${nounOf(type)}s` : undefined}
      error={error ?? (inItems.length > 0 ? inItems.join("; ") : undefined)}
      required={spec.required}
      clearable
      clearButtonProps={{ "aria-label": `Clear ${spec.label}` }}
      acceptValueOnBlur
      value={value}
      onChange={change}
      searchValue={searched}
      onSearchChange={setSearched}
      data={found.candidates.map((candidate) => candidate.name)}
      filter={({ options }) => options.filter((option) => !("value" in option) || !value.includes(option.value))}
      onFocus={() => setOpened(true)}
      maxDropdownHeight={300}
      renderOption={({ option }) => <FoundOption name={option.value} about={about.get(option.value)} />}
      inputContainer={(input) => (
        <>
          {input}
          {opened && value.length === 0 && <FoundNote found={found} type={type} searched={searched} />}
        </>
      )}
    />
  );
}
