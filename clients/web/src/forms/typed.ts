// Values that are typed as text: numbers, quantities, times and bytes, read by the kind of their widget.
import { create, ScalarType, type DescField } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { DurationSchema, FieldMaskSchema, timestampFromDate, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { BYTES_ALLOWED, PERCENT_ALLOWED, readBytes, readPercent, readSeconds, SPAN_ALLOWED } from "./quantities";
import type { Control } from "./spec";

/** A value that cannot be read; the message says what is allowed. */
export class BadValue extends Error {}

/** Reads what was typed into a widget. */
export function readText(control: Control, text: string, field: DescField | undefined): unknown {
  switch (control.kind) {
    case "size":
      return sized(allowed(readBytes(text), BYTES_ALLOWED), field);
    case "span":
      return sized(wholeSeconds(text, field), field);
    case "percent":
      return sized(allowed(readPercent(text), PERCENT_ALLOWED), field);
    case "integer":
      return sized(whole(text, control.least, control.most), field);
    case "number":
      return allowed(Number.isFinite(Number(text)) ? Number(text) : undefined, "a number");
    case "time":
      return time(text);
    case "duration": {
      const seconds = allowed(readSeconds(text), SPAN_ALLOWED);
      const nanos = Math.round((seconds % 1) * 1e9);
      return reflect(DurationSchema, create(DurationSchema, { seconds: BigInt(Math.floor(seconds)), nanos }));
    }
    case "paths":
      return reflect(FieldMaskSchema, create(FieldMaskSchema, { paths: text.split(/[\s,]+/).filter(Boolean) }));
    case "bytes":
      return bytes(text);
    default:
      throw new BadValue(`nothing that can be typed (${control.kind})`);
  }
}

function allowed<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new BadValue(`must be ${what}`);
  return value;
}

function whole(text: string, least: bigint, most: bigint): bigint {
  const range = most - least < 1n << 31n ? `a whole number from ${least} to ${most}` : "a whole number";
  if (!/^-?\d+$/.test(text)) throw new BadValue(`must be ${range}`);
  const value = BigInt(text);
  if (value < least || value > most) throw new BadValue(`must be a whole number from ${least} to ${most}`);
  return value;
}

function wholeSeconds(text: string, field: DescField | undefined): number {
  const seconds = allowed(readSeconds(text), SPAN_ALLOWED);
  if (isWhole(field) && !Number.isInteger(seconds)) throw new BadValue("must be whole seconds");
  return seconds;
}

/** The number as its field holds it: a bigint where it is wide. */
function sized(value: number | bigint, field: DescField | undefined): number | bigint {
  const wide = [ScalarType.INT64, ScalarType.UINT64, ScalarType.SINT64, ScalarType.FIXED64, ScalarType.SFIXED64];
  const scalar = scalarOf(field);
  if (scalar !== undefined && wide.includes(scalar)) return BigInt(value);
  if (BigInt(Math.trunc(Number(value))) >= 1n << 31n && isWhole(field)) throw new BadValue("is too large");
  return Number(value);
}

function isWhole(field: DescField | undefined): boolean {
  const scalar = scalarOf(field);
  return scalar !== ScalarType.DOUBLE && scalar !== ScalarType.FLOAT;
}

function scalarOf(field: DescField | undefined): ScalarType | undefined {
  return field && "scalar" in field ? field.scalar : undefined;
}

function time(text: string): unknown {
  const moment = text.startsWith("+") ? soon(text.slice(1)) : new Date(text);
  if (Number.isNaN(moment.getTime())) throw new BadValue("must be a time such as 2030-01-31T18:00:00, or +2h from now");
  return reflect(TimestampSchema, timestampFromDate(moment));
}

function soon(text: string): Date {
  return new Date(Date.now() + allowed(readSeconds(text), SPAN_ALLOWED) * 1000);
}

function bytes(text: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    throw new BadValue("must be bytes in base64");
  }
}
