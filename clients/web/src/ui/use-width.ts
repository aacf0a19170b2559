// The width of an element as it is now, for pictures that are drawn to it.
import { useLayoutEffect, useRef, useState, type RefObject } from "react";

/** A ref for the element, and its width in pixels; the given one until it is known. */
export function useWidth<E extends HTMLElement>(first: number): [RefObject<E | null>, number] {
  const element = useRef<E>(null);
  const [width, setWidth] = useState(first);
  useLayoutEffect(() => {
    const target = element.current;
    if (!target) return;
    const measure = (): void => setWidth(Math.max(1, Math.floor(target.getBoundingClientRect().width)));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(target);
    return () => observer.disconnect();
  }, []);
  return [element, width];
}
