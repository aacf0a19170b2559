// Whether the screen is too narrow for tables and for the navigation beside it: rows are cards, the navigation is a drawer.
import { useMediaQuery } from "@mantine/hooks";

export function useNarrow(): boolean {
  return useMediaQuery("(width < 48em)", window.innerWidth < 768, { getInitialValueInEffect: false }) ?? false;
}
