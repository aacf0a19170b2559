// One value of a summary: text, moments, and references as links with the name and state of what they lead to.
import { Badge, Code, Group, Text } from "@mantine/core";
import { useTitle } from "../live";
import { Moment } from "../ui/Moment";
import { ResourceLink } from "../ui/ResourceLink";
import type { FieldValue } from "./fields";

export function FieldView({ value }: { value: FieldValue }) {
  switch (value.kind) {
    case "text":
      return value.code ? <Code style={{ overflowWrap: "anywhere" }}>{value.text}</Code> : <span>{value.text}</span>;
    case "texts":
      return (
        <Group gap={4}>
          {value.texts.map((text, index) => (
            <Badge key={index} variant="default" tt="none" fw={400} radius="sm" maw="100%">
              {text}
            </Badge>
          ))}
        </Group>
      );
    case "references":
      return (
        <Group gap="4px 10px">
          {value.names.map((name) => (
            <Reference key={name} name={name} />
          ))}
        </Group>
      );
    case "moment":
      return <Moment at={value.at} />;
    case "empty":
      return (
        <Text span c="dimmed" size="sm" aria-label="not set">
          –
        </Text>
      );
  }
}

/** A resource by what people call it, as a link to its page. */
export function Reference({ name }: { name: string }) {
  return <ResourceLink name={name} text={useTitle(name)} />;
}
