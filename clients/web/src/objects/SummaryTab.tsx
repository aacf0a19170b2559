// The summary of an object: its fields with their units, in sections, those that are seldom looked at folded.
import { Accordion, Card, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import type { AnyObject } from "../live";
import { FieldView } from "./FieldView";
import { summaryOf, type SummaryRow } from "./fields";
import { capital, type ObjectKind } from "./kinds";
import classes from "./SummaryTab.module.css";

export function SummaryTab({ kind, object }: { kind: ObjectKind; object: AnyObject }) {
  const sections = summaryOf(kind.message, object);
  return (
    <Stack gap="md">
      {object.description && <Text>{object.description}</Text>}
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="md">
        {sections
          .filter(({ folded }) => !folded)
          .map(({ title, rows }) => (
            <Card key={title} withBorder padding="md">
              <Title order={2} size="h3" mb="xs">
                {title || capital(kind.noun)}
              </Title>
              <Fields rows={rows} />
            </Card>
          ))}
      </SimpleGrid>
      {sections
        .filter(({ folded }) => folded)
        .map(({ title, rows }) => (
          <Accordion key={title} variant="contained" order={2}>
            <Accordion.Item value={title}>
              <Accordion.Control>{title}</Accordion.Control>
              <Accordion.Panel>
                <Fields rows={rows} />
              </Accordion.Panel>
            </Accordion.Item>
          </Accordion>
        ))}
    </Stack>
  );
}

function Fields({ rows }: { rows: readonly SummaryRow[] }) {
  return (
    <dl className={classes.fields}>
      {rows.map(({ field, label, value }) => (
        <div key={field} className={classes.field}>
          <dt>{label}</dt>
          <dd>
            <FieldView value={value} />
          </dd>
        </div>
      ))}
    </dl>
  );
}
