# SPDX-License-Identifier: Apache-2.0
"""Money: whole minor units and a currency. No floats, no rounding, no conversion."""

from typing import Annotated

import msgspec

AMOUNT_MINOR_MAX = 10**12
"""Above this, every provider says no; below it, sums stay exact in any JSON reader."""

# ISO 4217 (list one, 2026): the currencies in use, by number of decimals of the minor unit.
_TWO_DECIMALS = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC
CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR
JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD
NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN
SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""
_NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"

DECIMALS: dict[str, int] = (
    dict.fromkeys(_TWO_DECIMALS.split(), 2)
    | dict.fromkeys(_NO_DECIMALS.split(), 0)
    | dict.fromkeys(_THREE_DECIMALS.split(), 3)
)


class Money(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`amount_minor` whole minor units (6000 is 60.00 EUR, 6000 JPY, 6.000 KWD) of an ISO 4217 `currency`."""

    amount_minor: Annotated[int, msgspec.Meta(ge=0, le=AMOUNT_MINOR_MAX)]
    currency: Annotated[str, msgspec.Meta(pattern=r"\A[A-Z]{3}\Z")]

    def times(self, count: int) -> "Money":
        return Money(self.amount_minor * count, self.currency)

    def __str__(self) -> str:
        decimals = DECIMALS.get(self.currency, 2)
        if decimals == 0:
            return f"{self.amount_minor} {self.currency}"
        whole, rest = divmod(self.amount_minor, 10**decimals)
        return f"{whole}.{rest:0{decimals}} {self.currency}"


def currency_exists(code: str) -> bool:
    """Whether `code` is a currency of ISO 4217."""
    return code in DECIMALS
