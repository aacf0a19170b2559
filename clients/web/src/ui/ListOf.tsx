// Sentences one below the other.
import { List } from "@mantine/core";

export function ListOf({ items }: { items: readonly string[] }) {
  return (
    <List size="sm">
      {items.map((item, index) => (
        <List.Item key={index}>{item}</List.Item>
      ))}
    </List>
  );
}
