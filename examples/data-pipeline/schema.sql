CREATE TABLE customers (id TEXT PRIMARY KEY, name TEXT NOT NULL) STRICT;
CREATE TABLE orders (
  id       INTEGER PRIMARY KEY,
  day      TEXT NOT NULL CHECK (day GLOB '2026-[01][0-9]-[0-3][0-9]'),
  customer TEXT NOT NULL REFERENCES customers (id),
  cents    INTEGER NOT NULL CHECK (cents > 0),
  currency TEXT NOT NULL CHECK (currency IN ('EUR', 'USD'))
) STRICT;
CREATE TABLE rejected (file TEXT NOT NULL, line INTEGER NOT NULL, text TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (file, line)) STRICT;
CREATE TABLE loads (file TEXT PRIMARY KEY, rows INTEGER NOT NULL) STRICT;
INSERT INTO customers VALUES ('amber', 'Amber Bakery'), ('basalt', 'Basalt Climbing'), ('copper', 'Copper Pans'), ('delta', 'Delta Ferries');
INSERT INTO orders VALUES (1, '2026-11-18', 'amber', 1200, 'EUR'), (2, '2026-11-18', 'delta', 4999, 'USD'), (3, '2026-11-18', 'copper', 350, 'EUR');
