// A command line that helps with something; a press copies it.
import { Code, CopyButton, UnstyledButton } from "@mantine/core";

export function Command({ text }: { text: string }) {
  return (
    <CopyButton value={text}>
      {({ copied, copy }) => (
        <UnstyledButton onClick={copy} title="Copy the command" aria-label={`Copy the command ${text}`}>
          <Code>{copied ? "copied" : text}</Code>
        </UnstyledButton>
      )}
    </CopyButton>
  );
}
