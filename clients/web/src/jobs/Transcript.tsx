// The story of an operation as text, for each job: what was asked, each step with its tries, errors, and the events.
import { Button, Code, CopyButton, Group } from "@mantine/core";
import { transcriptOf } from "./transcript-text";
import type { Story } from "./use-story";

export function Transcript({ story }: { story: Story }) {
  const text = transcriptOf(story);
  return (
    <>
      <Group justify="flex-end" mb="xs">
        <CopyButton value={text}>
          {({ copied, copy }) => (
            <Button variant="default" size="compact-sm" onClick={copy}>
              {copied ? "Copied" : "Copy"}
            </Button>
          )}
        </CopyButton>
      </Group>
      <Code block tabIndex={0} role="region" aria-label="Transcript">
        {text}
      </Code>
    </>
  );
}
