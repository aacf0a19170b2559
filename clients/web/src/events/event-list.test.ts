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

test("what was found to be archived stays so, whatever the watch still says of it", () => {
  const list = new EventList();
  const live = event(3);
  list.put([live, event(2)]);
  expect(list.put([create(EventSchema, { ...live, archived: true })])).toBe(true);
  expect(list.put([event(4), event(3, "as the watch knew it")])).toBe(true);
  expect(list.events.map(({ name, archived }) => [name, archived])).toEqual([["events/4", false], ["events/3", true], ["events/2", false]]);
});

test("what was found to be forgotten does not come back by the watch", () => {
  const list = new EventList();
  list.put([event(3), event(2)]);
  list.forget("events/3");
  expect(list.put([event(4), event(3)])).toBe(true);
  expect(list.put([event(3)])).toBe(false);
  expect(numbers(list)).toEqual([4, 2]);
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
