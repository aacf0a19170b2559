// Whether the screen is too narrow for tables, so that rows are shown as cards.
import { useMediaQuery } from "@mantine/hooks";

export function useNarrow(): boolean {
  return useMediaQuery("(max-width: 48em)", window.innerWidth <= 768, { getInitialValueInEffect: false }) ?? false;
}
