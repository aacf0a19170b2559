// The frame of every screen.
import { Title } from "@mantine/core";

export function App() {
  return <Title order={1}>Virtyard</Title>;
}
