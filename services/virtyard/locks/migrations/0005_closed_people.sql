-- The closed locks of people by age, so that looking for old ones with each that is closed costs the same however many there are.
CREATE INDEX tombstone_of_people ON tombstone (closed) WHERE owner >= 'locks/' AND owner < 'locks0';
