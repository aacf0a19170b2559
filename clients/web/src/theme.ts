// The look of the console: system fonts and one accent colour; ui/looks has the colours of states.
import { createTheme } from "@mantine/core";

export const theme = createTheme({
  primaryColor: "indigo",
  // Dark enough for white text in both themes, and light enough on a dark ground.
  primaryShade: { light: 7, dark: 8 },
  autoContrast: true,
  defaultRadius: "sm",
  cursorType: "pointer",
  fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif",
  fontFamilyMonospace: "ui-monospace, 'Cascadia Mono', 'DejaVu Sans Mono', 'Liberation Mono', monospace",
  headings: { sizes: { h1: { fontSize: "1.5rem" }, h2: { fontSize: "1.2rem" }, h3: { fontSize: "1rem" } } },
});
