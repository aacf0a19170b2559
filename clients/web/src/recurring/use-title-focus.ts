// Brings the automation that an address names into view, with the focus on its title.
import { useEffect, useRef } from "react";
import { useSearchParams } from "react-router";

export function useTitleFocus(name: string) {
  const [query] = useSearchParams();
  const title = useRef<HTMLHeadingElement>(null);
  const wanted = query.get("show") === name;
  useEffect(() => {
    if (wanted) title.current?.focus();
  }, [wanted]);
  return title;
}
