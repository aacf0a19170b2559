// That the list of events stays sorted while pages of the past and news come together.
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { EventSchema } from "../api/virtyard/api/inventory/v1/event_pb";
import { EventList } from "./event-list";

const event = (number: number, message = "") => create(EventSchema, { name: `events/${number}`, message });
const numbers = (list: EventList) => list.events.map((each) => Number(each.name.slice(7)));

test("news go to the top and older pages to the end, each event once", () => {
  const list = new EventList();
  list.put([event(12), event(9)]);
  list.put([event(100), event(12)]);
  list.put([event(7), event(8)]);
  expect(numbers(list)).toEqual([100, 12, 9, 8, 7]);
});

test("an event that is revised takes its own place, and nothing new is no change", () => {
  const list = new EventList();
  const same = event(3);
  list.put([same, event(2)]);
  expect(list.put([same])).toBe(false);
  expect(list.put([event(2, "revised")])).toBe(true);
  expect(list.events.map((each) => each.message)).toEqual(["", "revised"]);
  list.remove(["events/3"]);
  expect(numbers(list)).toEqual([2]);
});
